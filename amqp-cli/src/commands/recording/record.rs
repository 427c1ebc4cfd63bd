//! `amqp record`

use std::path::PathBuf;

use amqp_client::ConsumeOptions;
use clap::Args;

use super::{
    firehose,
    taps::{Tap, tap},
};
use crate::{
    commands::receiving::{
        receive::{EndArguments, Receiving, deliveries},
        settlement::Then,
        sources::{Source, subscribe},
    },
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    output::{notes::note, progress::Progress},
    records::writer::RecordWriter,
};

/// Writes messages to files in a folder, from which `amqp replay` publishes them again
///
/// The files are lines of JSON: a message each, with its body as text if it is UTF-8, its
/// properties octet by octet, and a checksum. No name of a file comes from a message.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// An exchange, or EXCHANGE:KEY, of which copies are recorded as `amqp tap` shows them
    #[arg(value_name = "EXCHANGE[:KEY]", required_unless_present = "queues")]
    taps: Vec<Tap>,

    /// A queue whose messages are moved into the folder: acknowledged once they are on the disk
    #[arg(short, long = "queue", value_name = "QUEUE", conflicts_with = "taps")]
    queues: Vec<String>,

    /// Adds to the records that are in the folder
    #[arg(long)]
    append: bool,

    #[command(flatten)]
    end: EndArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let writer = RecordWriter::begin(&arguments.folder, arguments.append)?;
    let queues: Vec<Source> = arguments.queues.iter().cloned().map(Source::Queue).collect();
    let options = || Ok(ConsumeOptions::new().prefetch(500));
    let subscribing = async {
        match queues.is_empty() {
            true => tap(&connection, &channel, &arguments.taps, None).await,
            false => subscribe(&channel, &queues, options).await,
        }
    };
    let subscribed = context.interrupt.or(subscribing).await?;
    note(&format!("recording {}", target.url()));
    let then = if queues.is_empty() { Then::NoAck } else { Then::Ack };
    let mut receiving = Receiving::new(writer, then, arguments.end.clone(), context);
    receiving.change = firehose::original;
    receiving.progress = Some(Progress::new(arguments.end.limit, false));
    let ended = receiving.all(deliveries(subscribed)).await;
    let recorded = receiving.received;
    drop(receiving);
    note(&format!("{recorded} messages recorded"));
    close(&connection).await;
    ended
}
