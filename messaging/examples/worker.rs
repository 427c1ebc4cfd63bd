//! Handles the messages of a queue, several at once, until Ctrl-C.
//!
//! `worker amqp://localhost/ mails`
//!
//! Each message is printed. A message that contains `"fail"` fails, is retried after 1, 2 and 4
//! seconds, and is then set aside in the queue `QUEUE.dead`. `RUST_LOG` says what is logged, on
//! standard error; by default warnings, which include failed messages.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use messaging::{Incoming, OnFailure, Queue, RetryLater, Transport};

mod terminal;

/// Handles the messages of a queue until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/.
    url: String,
    /// The queue.
    queue: String,
    /// How many messages are handled at once.
    #[arg(long, default_value_t = 8)]
    concurrency: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("worker", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { url, queue, concurrency } = arguments;
    let transport = Transport::connect(&url).await?;
    let later = RetryLater::after(Duration::from_secs(1)).doubling_up_to(Duration::from_secs(4));
    let worker = transport
        .worker(Queue::durable(&queue))
        .concurrency(concurrency)
        .on_failure(OnFailure::Retry(later.limit(3).dead_letter(true)))
        .start(work)
        .await?;
    eprintln!("working on {queue}; Ctrl-C ends it");
    // An error means that Ctrl-C cannot be caught here: run until killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    worker.stop().await;
    transport.close().await?;
    Ok(())
}

async fn work(message: Incoming<serde_json::Value>) -> Result<(), String> {
    let text = message.body().to_string();
    eprintln!("{text} (retries: {})", message.retries());
    if text.contains("fail") { Err(format!("cannot work on {text}")) } else { Ok(()) }
}
