//! Emits notifications, for listeners of Python's oslo.messaging and of this library alike.
//!
//! ```text
//! notifier rabbit://guest:guest@127.0.0.1:5672/ compute.host1 notifications \
//!     info compute.instance.create.end '{"instance_id": 12}'
//! ```
//!
//! It retries while the broker is away, until `--timeout`. `RUST_LOG` says what is logged, on
//! standard error.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use messaging::{
    Context, TransportOptions,
    notify::{Level, Notifier, drivers},
};
use serde_json::{Map, Value, value::RawValue};

mod terminal;

/// Emits one notification, or many that are alike, and ends when the broker has them.
#[derive(Parser)]
struct Arguments {
    /// The broker: rabbit://, amqp://, amqps:// or memory://.
    url: String,
    /// Who emits it, by convention `service.host`.
    publisher_id: String,
    /// The topic, by convention `notifications`; several are separated by commas.
    topic: String,
    /// The level: audit, debug, info, warn, error, critical or sample.
    level: Level,
    /// What happened, by convention `subject.action.phase`.
    event_type: String,
    /// The payload; `-` reads it from standard input.
    json_payload: String,
    /// Leaves out the envelope of version 2, as Python's driver `messaging` does.
    #[arg(long)]
    v1: bool,
    /// The context, a JSON object that is sent with it.
    #[arg(long, default_value = "{}")]
    context: String,
    /// The exchange.
    #[arg(long, default_value = "openstack")]
    exchange: String,
    /// How many to emit.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// How long to retry, in seconds.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    terminal::end("notifier", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    /// The most notifications that wait for the broker at once.
    const IN_FLIGHT: usize = 256;
    let payload: Box<RawValue> = serde_json::from_str(&terminal::text(&arguments.json_payload)?)
        .map_err(|error| format!("the payload is no JSON: {error}"))?;
    let context = Context::from(serde_json::from_str::<Map<String, Value>>(&arguments.context)?);
    let transport = TransportOptions::new().name("notifier").lazy(&arguments.url)?;
    let mut topics = arguments.topic.split(',');
    let first = topics.next().unwrap_or_default();
    let messaging =
        transport.notification_driver(first).exchange(&arguments.exchange).enveloped(!arguments.v1);
    let messaging = topics.fold(messaging, drivers::Messaging::topic);
    let deadline = Duration::try_from_secs_f64(arguments.timeout)?;
    let retry = messaging::RetryPolicy::default().deadline(deadline);
    let notifier = Notifier::new(&arguments.publisher_id).driver(messaging).retry(retry);
    let emit = || notifier.notify(arguments.level, &context, &arguments.event_type, &payload);
    stream::iter(0..arguments.count)
        .map(|_| Ok(emit()))
        .try_buffered(IN_FLIGHT)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    transport.close().await?;
    Ok(())
}
