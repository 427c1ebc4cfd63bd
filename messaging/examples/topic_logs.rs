//! Logs by topic: publishes a text with a key, or listens to the keys that match patterns.
//!
//! `topic_logs amqp://localhost/ listen 'kern.*' '*.critical'`
//! `topic_logs amqp://localhost/ say kern.critical 'disk on fire'`
//!
//! `RUST_LOG` says what is logged, on standard error.

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};
use messaging::{Exchange, Queue, Transport};

mod terminal;

/// Publishes a text with a key, or listens to the keys that match patterns.
#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/.
    url: String,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Publishes a text.
    Say {
        /// The key: words separated by dots.
        key: String,
        /// The text; `-` reads it from standard input.
        text: String,
    },
    /// Prints received texts until the connection ends for good.
    Listen {
        /// The patterns: words separated by dots; `*` matches one word, `#` any number.
        #[arg(required = true)]
        patterns: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("topic_logs", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { url, act } = arguments;
    let transport = Transport::connect(&url).await?;
    let logs = Exchange::topic("logs").durable(true);
    match act {
        Act::Say { key, text } => {
            transport.producer(logs).ensure_publish(&key, &terminal::text(&text)?).await?;
        }
        Act::Listen { patterns } => {
            // The queue belongs to this program, and is deleted with its connection.
            let queue = Queue::new("").exclusive(true);
            let bind = |to: messaging::ConsumerBuilder, pattern| to.bind(&logs, pattern);
            let consumer = patterns.into_iter().fold(transport.consumer(queue), bind);
            let mut lines = consumer.start::<String>().await?;
            eprintln!("listening");
            while let Some(line) = lines.recv().await {
                let line = line?;
                eprintln!("{}: {}", line.routing_key(), line.body());
                line.ack().await?;
            }
        }
    }
    transport.close().await?;
    Ok(())
}
