//! Publishes a message and says what became of it.
//!
//! ```text
//! publish amqp://localhost/ mails '{"to": "alice@example.com"}'
//! echo '{"to": "alice@example.com"}' | publish amqp://localhost/ mails - --deadline 600
//! ```
//!
//! The queue is declared when it is not there. It goes on trying while the broker is away, until
//! the deadline. Exit code 1 when the message was not delivered for certain. `RUST_LOG` has it tell
//! what it does, on standard error.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use messaging::{Exchange, PublishOptions, Queue, RetryPolicy, TransportOptions};

mod terminal;

/// Publishes a message and says what became of it.
#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/ or memory://example.
    url: String,
    /// The queue.
    queue: String,
    /// The message: JSON, or `-` for what is on standard input.
    message: String,
    /// 0 to 9; higher is sooner, in a queue with priorities.
    #[arg(long, default_value_t = 0)]
    priority: u8,
    /// How many seconds to go on trying.
    #[arg(long, default_value_t = 30)]
    deadline: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    terminal::end("publish", publish(&Arguments::parse()).await)
}

async fn publish(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { url, queue, message, priority, deadline } = arguments;
    let body: serde_json::Value = serde_json::from_str(&terminal::text(message)?)
        .map_err(|error| format!("the message is no JSON: {error}"))?;
    let deadline = Duration::from_secs(*deadline);
    // It connects when something is published, again and again until the deadline.
    let transport = TransportOptions::new().name("publish").lazy(url)?;
    let retry = RetryPolicy::default().deadline(deadline);
    let options = PublishOptions::new().priority(*priority).declare_queue(&Queue::durable(queue));
    let producer = transport.producer(Exchange::default()).mandatory(true).retry(retry);
    let published = producer.ensure_publish_with(queue, &body, &options).await?;
    eprintln!("published after {} attempts in {:?}", published.attempts, published.elapsed);
    transport.close().await?;
    Ok(())
}
