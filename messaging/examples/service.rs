//! A service as it runs under an orchestrator: it handles the messages of a queue, tells over HTTP
//! whether it is alive and ready, and ends in order on SIGTERM.
//!
//! `service amqp://localhost/ orders receipts --http 127.0.0.1:8080`
//!
//! For each message of the first queue it publishes a receipt to the second, and only then
//! acknowledges. On SIGTERM, and on Ctrl-C, it is no longer ready, takes no more messages, finishes
//! those that it is handling, and ends with exit code 0: nothing is lost, and what it has finished
//! is not delivered again.
//!
//! `/healthz` answers 200 as long as the program runs: a broker that is away is no reason to
//! restart it, because connections are recovered. When the worker cannot go on, the program ends by
//! itself.
//! `/readyz` answers 200 when messages would be handled now, and 503 with the reason otherwise.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use clap::Parser;
use messaging::{Exchange, Incoming, PublishOptions, Queue, Transport, WorkerMonitor};
use tokio::{net::TcpListener, time::sleep};

mod terminal;

/// Handles orders until SIGTERM.
#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/.
    url: String,
    /// The queue of orders.
    orders: String,
    /// The queue of receipts.
    receipts: String,
    /// The address for /healthz and /readyz.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: String,
    /// The number of orders that are handled at once.
    #[arg(long, default_value_t = 8)]
    concurrency: u16,
    /// The time that an order takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    takes: u64,
}

/// The state that the probes look at.
#[derive(Clone)]
struct Probed {
    transport: Transport,
    worker: WorkerMonitor,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("service", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // A signal is noticed from here on, also while the service starts.
    let mut signals = terminal::Signals::catch()?;
    let transport = Transport::connect(&arguments.url).await?;
    let takes = Duration::from_millis(arguments.takes);
    let producer = transport.producer(Exchange::default());
    let receipts = PublishOptions::new().declare(Queue::durable(&arguments.receipts));
    let work = move |order: Incoming<u64>| {
        let (producer, receipts, queue) = (producer.clone(), receipts.clone(), arguments.receipts.clone());
        async move {
            sleep(takes).await;
            producer.ensure_publish((&queue, &receipts), order.body()).await.map(drop)
        }
    };
    let orders = transport.worker(Queue::durable(&arguments.orders)).concurrency(arguments.concurrency);
    let mut worker = orders.start(work).await?;

    let listener = TcpListener::bind(&arguments.http).await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let probed = Probed { transport: transport.clone(), worker: worker.monitor() };
    let probes = tokio::spawn(axum::serve(listener, router(probed)).into_future());
    tokio::select! {
        () = signals.recv() => {}
        ended = worker.wait() => ended?,
    }
    // From now on /readyz says no. What runs is finished and acknowledged before this returns.
    worker.stop().await;
    transport.close().await?;
    probes.abort();
    Ok(())
}

fn router(probed: Probed) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(probed)
}

async fn healthz(State(probed): State<Probed>) -> String {
    let status = probed.transport.status();
    let mut answer = "alive\n".to_owned();
    for connection in &status.connections {
        answer.push_str(&format!("{}: {:?}\n", connection.connection, connection.state));
    }
    answer
}

async fn readyz(State(probed): State<Probed>) -> (StatusCode, String) {
    let (transport, worker) = (probed.transport.status(), probed.worker.status());
    if let Some(reason) = transport.blocked() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the broker accepts no publishes: {reason}\n"));
    }
    if worker.is_ready() {
        return (StatusCode::OK, format!("ready, {} in progress\n", worker.in_flight));
    }
    let why = if !worker.connection.is_connected() {
        "there is no connection"
    } else if worker.last_error.is_some() {
        "consuming has ended and begins again"
    } else {
        "stopping"
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
}
