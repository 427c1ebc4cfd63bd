//! Emits notifications, for Python's oslo.messaging and our own listeners alike.
//!
//! ```text
//! notifier rabbit://guest:guest@127.0.0.1:5672/ compute.host1 notifications info compute.instance.create.end '{"instance_id": 12}'
//! ```
//!
//! It goes on trying while the broker is away, until `--timeout`. `RUST_LOG` has it tell what it
//! does, on standard error.

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
    /// Who says so, by custom `service.host`.
    publisher_id: String,
    /// The topic, by custom `notifications`; several with commas between them.
    topic: String,
    /// audit, debug, info, warn, error, critical or sample.
    level: Level,
    /// What happened, by custom `subject.action.phase`.
    event_type: String,
    /// What is to be known of it; `-` for what is on standard input.
    json_payload: String,
    /// Without the envelope of version 2, as Python's driver `messaging`.
    #[arg(long)]
    v1: bool,
    /// A JSON object that travels with it.
    #[arg(long, default_value = "{}")]
    context: String,
    /// The exchange.
    #[arg(long, default_value = "openstack")]
    exchange: String,
    /// How many.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// How long to try, in seconds.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    terminal::end("notifier", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    /// Notifications that wait for the broker at once.
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
    let notifier = Notifier::with(&arguments.publisher_id, messaging).retry(retry);
    let emit = || notifier.notify(arguments.level, &context, &arguments.event_type, &payload);
    stream::iter(0..arguments.count)
        .map(|_| Ok(emit()))
        .try_buffered(IN_FLIGHT)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    transport.close().await?;
    Ok(())
}
