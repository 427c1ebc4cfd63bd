//! Listens for notifications, from Python's oslo.messaging and from this library alike.
//!
//! It listens for all levels until SIGTERM or SIGINT. On standard output it prints `ready`, then a
//! line of JSON for each notification: `level`, `event_type`, `publisher_id`, `payload`, `context`,
//! `message_id`, `timestamp`. A notification is acknowledged when it has been written.
//!
//! ```text
//! listener rabbit://guest:guest@127.0.0.1:5672/ notifications --event-type 'compute\.'
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error; by default warnings.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use messaging::{
    Transport, TransportOptions,
    notify::{
        BatchEndpoint, BatchListener, BatchResult, Endpoint, Event, Filter, Level, Listener,
        NotificationResult,
    },
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::sync::watch;

mod terminal;

/// Prints notifications until it is told to end.
#[derive(Parser)]
struct Arguments {
    /// The broker: rabbit://, amqp://, amqps:// or memory://.
    url: String,
    /// The topic, by convention `notifications`; several are separated by commas.
    topic: String,
    /// The name of a queue that its listeners share, instead of the topics' own.
    #[arg(long)]
    pool: Option<String>,
    /// The exchange.
    #[arg(long, default_value = "openstack")]
    exchange: String,
    /// A pattern that event types have to match from their start.
    #[arg(long)]
    event_type: Option<String>,
    /// A pattern that publisher ids have to match from their start.
    #[arg(long)]
    publisher_id: Option<String>,
    /// How many notifications are handled at once.
    #[arg(long, default_value_t = 64)]
    concurrency: u16,
    /// How many to gather before they are printed.
    #[arg(long)]
    batch: Option<u16>,
    /// How long a batch is gathered, in seconds.
    #[arg(long, default_value_t = 1.0)]
    batch_timeout: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    event_type: &'a str,
    publisher_id: &'a str,
    /// The payload as it was received: numbers of any size, keys in their order.
    payload: Option<Box<RawValue>>,
    context: BTreeMap<&'a str, &'a Value>,
    message_id: Option<&'a str>,
    timestamp: Option<&'a str>,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("listener", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut signals = terminal::Signals::catch()?;
    let transport = TransportOptions::new().name("listener").connect(&arguments.url).await?;
    match arguments.batch {
        None => one_by_one(&transport, &arguments, signals.recv()).await?,
        Some(size) => in_batches(&transport, &arguments, size, signals.recv()).await?,
    }
    transport.close().await?;
    Ok(())
}

async fn one_by_one(
    transport: &Transport,
    arguments: &Arguments,
    ended: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let (ready, printer) = printer();
    let endpoint = Endpoint::new().filter(filter(arguments)?).on_each(&Level::ALL, move |event: Event| {
        let printer = printer.clone();
        async move {
            match printer.print(&[event]).await {
                Ok(()) => NotificationResult::Handled,
                Err(_) => NotificationResult::Requeue,
            }
        }
    });
    let (first, others) = topics(arguments);
    let listener = transport.listener(first).exchange(&arguments.exchange);
    let listener =
        others.fold(listener, Listener::topic).concurrency(arguments.concurrency).endpoint(endpoint);
    let listener = arguments.pool.iter().fold(listener, Listener::pool).start().await?;
    ready.say()?;
    ended.await;
    listener.stop().await;
    Ok(())
}

async fn in_batches(
    transport: &Transport,
    arguments: &Arguments,
    size: u16,
    ended: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let endpoint = BatchEndpoint::new().filter(filter(arguments)?);
    let (ready, printer) = printer();
    let endpoint = endpoint.on_each(&Level::ALL, move |events: Vec<Event>| {
        let printer = printer.clone();
        async move {
            match printer.print(&events).await {
                Ok(()) => BatchResult::Handled,
                Err(_) => BatchResult::Requeue,
            }
        }
    });
    let (first, others) = topics(arguments);
    let listener = transport.batch_listener(first, size).exchange(&arguments.exchange);
    let timeout = Duration::try_from_secs_f64(arguments.batch_timeout)?;
    let listener = others.fold(listener, BatchListener::topic).timeout(timeout).endpoint(endpoint);
    let listener = arguments.pool.iter().fold(listener, BatchListener::pool).start().await?;
    ready.say()?;
    ended.await;
    listener.stop().await;
    Ok(())
}

fn topics(arguments: &Arguments) -> (&str, impl Iterator<Item = &str>) {
    let mut topics = arguments.topic.split(',');
    (topics.next().unwrap_or_default(), topics)
}

fn filter(arguments: &Arguments) -> Result<Filter, messaging::Error> {
    let mut filter = Filter::new();
    if let Some(pattern) = &arguments.event_type {
        filter = filter.event_type(pattern)?;
    }
    if let Some(pattern) = &arguments.publisher_id {
        filter = filter.publisher_id(pattern)?;
    }
    Ok(filter)
}

/// Prints `ready` before anything else is printed.
struct Ready(watch::Sender<bool>);

#[derive(Clone)]
struct Printer(watch::Receiver<bool>);

fn printer() -> (Ready, Printer) {
    let (ready, said) = watch::channel(false);
    (Ready(ready), Printer(said))
}

impl Ready {
    fn say(&self) -> io::Result<()> {
        writeln!(io::stdout(), "ready")?;
        io::stdout().flush()?;
        self.0.send_replace(true);
        Ok(())
    }
}

impl Printer {
    /// Prints whole lines, all at once.
    async fn print(&self, events: &[Event]) -> io::Result<()> {
        // An error means that the program is ending.
        self.0.clone().wait_for(|said| *said).await.map_err(io::Error::other)?;
        let lines: String = events.iter().map(line).collect::<serde_json::Result<_>>()?;
        let mut out = io::stdout().lock();
        out.write_all(lines.as_bytes())?;
        out.flush()
    }
}

fn line(event: &Event) -> serde_json::Result<String> {
    let line = Line {
        level: event.level().name(),
        event_type: event.event_type(),
        publisher_id: event.publisher_id(),
        payload: event.payload().ok(),
        context: event.context().iter().collect(),
        message_id: event.message_id(),
        timestamp: event.timestamp(),
    };
    Ok(serde_json::to_string(&line)? + "\n")
}
