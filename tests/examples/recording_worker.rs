//! Handles the messages of a queue until it is killed, and records each before it acknowledges it.
//!
//! `recording_worker URL QUEUE FILE [hold|fail|publish]` appends a line to FILE for each message:
//! the number that is its body, and `true` if it came with the redelivered flag, else `false`. With
//! `hold` it never finishes what it has recorded, and with `fail` it fails at it, is given it once
//! more after 1 ms, and then keeps it in `QUEUE.dead`. With `publish` it handles nothing: it
//! publishes 1, and records that when it is confirmed. `tests::RecordingWorker` starts it.

use std::{
    env,
    error::Error,
    fs::{File, OpenOptions},
    future::pending,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use amqp_client::Report;
use messaging::{Exchange, Incoming, OnFailure, Queue, Recovery, RetryLater, Transport, TransportOptions};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recording_worker: {}", Report(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [url, queue, file, rest @ ..] = arguments else {
        return Err("usage: recording_worker URL QUEUE FILE [hold|fail|publish]".into());
    };
    let record = OpenOptions::new().append(true).open(file)?;
    // It may begin while the broker is restarted.
    let recovery = Recovery::new().first_connect(true);
    let transport = TransportOptions::new().recovery(recovery).connect(url).await?;
    match rest.first().map(String::as_str) {
        Some("publish") => publish(&transport, queue, &record).await,
        what => handle(&transport, queue, record, what).await,
    }
}

async fn publish(transport: &Transport, queue: &str, record: &File) -> Result<(), Box<dyn Error>> {
    transport.producer(Exchange::default()).ensure_publish(queue, &1).await?;
    write(record, 1, false)?;
    pending().await
}

async fn handle(
    transport: &Transport,
    queue: &str,
    record: File,
    what: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let (record, holds, fails) = (Arc::new(record), what == Some("hold"), what == Some("fail"));
    let handler = move |message: Incoming<u64>| {
        let record = Arc::clone(&record);
        async move {
            write(&record, *message.body(), message.redelivered())?;
            if holds {
                pending::<()>().await;
            }
            if fails { Err(io::Error::other("it fails")) } else { Ok(()) }
        }
    };
    let once = RetryLater::after(Duration::from_millis(1)).limit(1).dead_letter(true);
    let on_failure = if fails { OnFailure::Retry(once) } else { OnFailure::default() };
    let worker = transport.worker(Queue::durable(queue)).concurrency(8).on_failure(on_failure);
    Ok(worker.start(handler).await?.wait().await?)
}

/// One call of the system writes the line, so that a kill leaves the whole of it or nothing.
fn write(mut record: &File, number: u64, redelivered: bool) -> io::Result<()> {
    let line = format!("{number} {redelivered}\n");
    record.write_all(line.as_bytes())
}
