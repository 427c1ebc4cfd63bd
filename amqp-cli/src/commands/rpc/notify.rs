//! `amqp notify`

use clap::Args;
use messaging::{Context as Circumstances, notify::Level};
use serde_json::Value as Json;

use crate::{
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    message::{
        assignment::{Assignment, table_of},
        value_json::table_to_json,
    },
};

/// Emits a notification of oslo.messaging, and waits until the broker has confirmed it
///
/// It is kept in the queue of its topic and level until somebody listens.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The topic, by convention notifications
    topic: String,

    /// The type of the event, as compute.instance.create.end
    event_type: String,

    /// The payload, in JSON
    #[arg(default_value = "{}", value_parser = json)]
    payload: Json,

    /// The level: audit, debug, info, warn, error, critical or sample
    #[arg(short, long, default_value = "info", value_parser = level)]
    level: Level,

    /// The publisher, by convention SERVICE.HOST
    #[arg(long, value_name = "ID", default_value = "amqp")]
    publisher_id: String,

    /// An entry of the context; KEY:=JSON for other types than text; may be repeated
    #[arg(long = "entry", value_name = "KEY=TEXT")]
    entries: Vec<Assignment>,

    #[command(flatten)]
    connection: ConnectionArguments,
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

/// Reads a level.
pub(crate) fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|error: messaging::notify::NotifyError| error.to_string())
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let circumstances = Circumstances::from(table_to_json(&table_of(&arguments.entries)?));
    let target = Target::of(&arguments.connection)?;
    let emitting = async {
        let transport = target.transport().await?;
        let notifier = transport.notifier(&arguments.publisher_id, &arguments.topic);
        let Arguments { level, event_type, payload, .. } = &arguments;
        let emitted = notifier.notify(*level, &circumstances, event_type, payload).await;
        emitted.map_err(Error::messaging("emit the notification"))?;
        transport.close().await.map_err(Error::messaging("close the connection"))
    };
    context.interrupt.or(emitting).await?;
    Ok(Exit::Done)
}
