//! Publishes a message and prints the outcome.
//!
//! ```text
//! publish amqp://localhost/ mails '{"to": "alice@example.com"}'
//! echo '{"to": "alice@example.com"}' | publish amqp://localhost/ mails - --deadline 600
//! ```
//!
//! It declares the queue if that does not exist, and retries while the broker is away, until the
//! deadline. The exit code is 1 when the message was not delivered for certain. `RUST_LOG` says
//! what is logged, on standard error.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use messaging::{Exchange, PublishOptions, Queue, RetryPolicy, TransportOptions};

mod terminal;

/// Publishes a message and prints the outcome.
#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/ or memory://example.
    url: String,
    /// The queue.
    queue: String,
    /// The message as JSON; `-` reads it from standard input.
    message: String,
    /// The priority, 0 to 9; higher is delivered sooner, if the queue has priorities.
    #[arg(long, default_value_t = 0)]
    priority: u8,
    /// How many seconds to retry.
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
    // It connects when something is published, and retries until the deadline.
    let transport = TransportOptions::new().name("publish").lazy(url)?;
    let retry = RetryPolicy::default().deadline(deadline);
    let options = PublishOptions::new().priority(*priority).declare(Queue::durable(queue));
    let producer = transport.producer(Exchange::default()).mandatory(true).retry(retry);
    let published = producer.ensure_publish((queue, &options), &body).await?;
    eprintln!("published after {} attempts in {:?}", published.attempts, published.elapsed);
    transport.close().await?;
    Ok(())
}
