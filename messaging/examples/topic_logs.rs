//! Logs by topic: says something with a key, or listens to the keys that fit patterns.
//!
//! `topic_logs amqp://localhost/ listen 'kern.*' '*.critical'`
//! `topic_logs amqp://localhost/ say kern.critical 'disk on fire'`
//!
//! `RUST_LOG` has it tell what it does, on standard error.

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};
use messaging::{Exchange, Queue, Transport};

mod terminal;

/// Says something with a key, or listens to the keys that fit patterns.
#[derive(Parser)]
struct Arguments {
    /// The broker, such as amqp://guest:guest@localhost/.
    url: String,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Says something.
    Say {
        /// Words with dots between.
        key: String,
        /// What to say; `-` for what is on standard input.
        text: String,
    },
    /// Prints what is said, until the broker goes for good.
    Listen {
        /// Words with dots between; `*` is one word, `#` any number.
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
            // A queue of its own, which goes with this program.
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
