//! `amqp declare queue`

use amqp_client::{Queue, Table, Value};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::assignment::{Assignment, table_of},
    output::{arguments::OutputArguments, escape::escaped_line, screen::Screen},
};

/// Declares a queue, and prints its name
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The queue; without a name the broker chooses one
    #[arg(default_value = "", hide_default_value = true)]
    queue: String,

    /// The type [default: the broker's]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,

    /// Makes it end with the broker
    #[arg(long)]
    transient: bool,

    /// Makes it end with its last consumer
    #[arg(long)]
    auto_delete: bool,

    /// Only checks that there is a queue of this name
    #[arg(long)]
    passive: bool,

    /// The time after which a message expires
    #[arg(long, value_name = "MILLISECONDS")]
    message_ttl: Option<u64>,

    /// The time without use after which the queue expires
    #[arg(long, value_name = "MILLISECONDS")]
    expires: Option<u64>,

    /// The most messages
    #[arg(long, value_name = "NUMBER")]
    max_length: Option<u64>,

    /// The most bytes of bodies
    #[arg(long, value_name = "BYTES")]
    max_length_bytes: Option<u64>,

    /// What happens beyond that: drop-head, reject-publish or reject-publish-dlx
    #[arg(long, value_name = "WHAT")]
    overflow: Option<String>,

    /// The exchange for dead letters
    #[arg(long, value_name = "EXCHANGE")]
    dead_letter_exchange: Option<String>,

    /// The routing key of dead letters [default: that of the message]
    #[arg(long, value_name = "KEY")]
    dead_letter_routing_key: Option<String>,

    /// The highest priority
    #[arg(long, value_name = "1-255")]
    max_priority: Option<u8>,

    /// Lets one consumer receive at a time
    #[arg(long)]
    single_active_consumer: bool,

    /// How often a message of a quorum queue may return
    #[arg(long, value_name = "NUMBER")]
    delivery_limit: Option<u64>,

    /// How long a stream keeps messages: 7D, 12h
    #[arg(long, value_name = "TIME")]
    max_age: Option<String>,

    /// Any argument; KEY:=JSON for other types than text; may be repeated
    #[arg(short, long = "argument", value_name = "KEY=TEXT")]
    arguments: Vec<Assignment>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The types of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Classic,
    Quorum,
    Stream,
}

/// The output.
#[derive(Serialize)]
struct Declared<'a> {
    queue: &'a str,
    messages: u32,
    consumers: u32,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let queue = queue(&arguments)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let what = format!("declare queue {:?}", arguments.queue);
    let declaring = async { channel.declare(&queue).await.map_err(Error::broker(what)) };
    let declared = context.interrupt.or(declaring).await?;
    let shown =
        Declared { queue: &declared.name, messages: declared.messages, consumers: declared.consumers };
    screen.object(&shown, &escaped_line(&declared.name))?;
    close(&connection).await;
    Ok(Exit::Done)
}

fn queue(arguments: &Arguments) -> Result<Queue, Error> {
    let queue = match arguments.transient {
        true => Queue::new(&arguments.queue),
        false => Queue::durable(&arguments.queue),
    };
    let mut queue = queue.auto_delete(arguments.auto_delete).passive(arguments.passive);
    for (key, value) in &table(arguments)? {
        let key = key.to_text();
        queue = queue.arg(&key, value).map_err(|error| Error::Usage(error.to_string()))?;
    }
    Ok(queue)
}

fn table(arguments: &Arguments) -> Result<Table, Error> {
    let text = |text: &Option<String>| text.as_deref().map(|text| Value::LongString(text.into()));
    let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok()).map(Value::I64);
    let kind = arguments.kind.map(|kind| match kind {
        Kind::Classic => "classic",
        Kind::Quorum => "quorum",
        Kind::Stream => "stream",
    });
    let mut table = table_of(&arguments.arguments)?;
    let entries = [
        ("x-queue-type", kind.map(|kind| Value::LongString(kind.into()))),
        ("x-message-ttl", number(arguments.message_ttl)),
        ("x-expires", number(arguments.expires)),
        ("x-max-length", number(arguments.max_length)),
        ("x-max-length-bytes", number(arguments.max_length_bytes)),
        ("x-overflow", text(&arguments.overflow)),
        ("x-dead-letter-exchange", text(&arguments.dead_letter_exchange)),
        ("x-dead-letter-routing-key", text(&arguments.dead_letter_routing_key)),
        ("x-max-priority", arguments.max_priority.map(|highest| Value::I64(highest.into()))),
        ("x-single-active-consumer", arguments.single_active_consumer.then_some(Value::Bool(true))),
        ("x-delivery-limit", number(arguments.delivery_limit)),
        ("x-max-age", text(&arguments.max_age)),
    ];
    for (key, value) in entries {
        let Some(value) = value else { continue };
        table.insert(key, value).map_err(|error| Error::Usage(error.to_string()))?;
    }
    Ok(table)
}
