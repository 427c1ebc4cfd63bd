//! Publishes a message and says what became of it.
//!
//! `cargo run -p messaging --example publish -- amqp://localhost/ mails '{"to": "alice@example.com"}'`
//!
//! The queue is declared when it is not there. Exit code 1 when the message was not delivered for certain.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use messaging::{Exchange, PublishOptions, Queue, RetryPolicy, Transport};

#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/ or memory://example.
    url: String,
    /// The queue.
    queue: String,
    /// The message: JSON.
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
    match publish(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn publish(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { url, queue, message, priority, deadline } = arguments;
    let body: serde_json::Value = serde_json::from_str(message)?;
    let transport = Transport::connect(url).await?;
    let retry = RetryPolicy::default().deadline(Duration::from_secs(*deadline));
    let options = PublishOptions::new().priority(*priority).declare_queue(&Queue::durable(queue));
    let producer = transport.producer(Exchange::direct("")).mandatory(true).retry(retry);
    let delivered = producer.ensure_publish_with(queue, &body, &options).await?;
    eprintln!("delivered after {} attempts in {:?}", delivered.attempts, delivered.elapsed);
    transport.close().await?;
    Ok(())
}
