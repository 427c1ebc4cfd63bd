//! `amqp sub`

use std::ffi::OsString;

use amqp_client::ConsumeOptions;
use clap::Args;
use futures_util::Stream;

use crate::{
    commands::receiving::{
        child::{self, OnFailure},
        receive::{EndArguments, Incoming, Receiving, deliveries},
        settlement::Then,
        sources::{Offset, Source, subscribe},
    },
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::printer::{Printer, PrinterArguments},
};

/// Receives messages and prints them, or runs a program for each
///
/// A message is acknowledged once it has been printed, or when the program has ended with 0. The
/// program gets the body on its standard input, and AMQP_EXCHANGE, AMQP_ROUTING_KEY, AMQP_QUEUE,
/// AMQP_REDELIVERED and AMQP_PROPERTIES (JSON) in its environment; no shell is between.
///
/// Exit code 3 when --idle-timeout ended it before any message came.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A queue, or EXCHANGE:KEY for a temporary queue that is bound so
    #[arg(value_name = "SOURCE", required_unless_present = "queues")]
    sources: Vec<Source>,

    /// A queue, whatever is in its name
    #[arg(short, long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,

    /// What becomes of a message once it is printed
    #[arg(short, long, value_enum, value_name = "WHAT", default_value_t)]
    then: Then,

    #[command(flatten)]
    end: EndArguments,

    /// Where in a stream to begin: first, last, next, an offset, an age such as 10m, or a time such
    /// as 2026-01-31T12:00:00Z
    #[arg(long)]
    offset: Option<Offset>,

    /// How many messages the broker may send ahead [default: 1 with a program, else 500]
    #[arg(short, long, value_name = "NUMBER")]
    prefetch: Option<u16>,

    /// Consumes alone: nobody else may
    #[arg(short = 'x', long)]
    exclusive: bool,

    /// What becomes of a message whose program failed
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_failure: OnFailure,

    /// The program to run for each message, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    #[command(flatten)]
    printer: PrinterArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let sources: Vec<Source> = arguments
        .sources
        .iter()
        .cloned()
        .chain(arguments.queues.iter().cloned().map(Source::Queue))
        .collect();
    let printer = Printer::new(&arguments.printer)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let options = || options(&arguments);
    let subscribed = context.interrupt.or(subscribe(&channel, &sources, options)).await?;
    let deliveries = deliveries(subscribed);
    let mut receiving = Receiving::new(printer, arguments.then, arguments.end.clone(), context);
    let ended = match arguments.command.is_empty() {
        true => receiving.all(deliveries).await,
        false => run_children(&mut receiving, deliveries, &arguments).await,
    };
    let released = receiving.held.release().await.map_err(Error::broker("return messages"));
    close(&connection).await;
    let exit = ended?;
    released?;
    Ok(exit)
}

fn options(arguments: &Arguments) -> Result<ConsumeOptions, Error> {
    // Held messages would use a prefetch up, and messages beyond the limit would be flagged as
    // redelivered to others.
    let ahead = if arguments.command.is_empty() { 500 } else { 1 };
    let needed = arguments.end.limit.map_or(ahead, |limit| ahead.min(limit.try_into().unwrap_or(u16::MAX)));
    let prefetch = match arguments.then {
        Then::Requeue => arguments.end.limit.and_then(|limit| limit.try_into().ok()).unwrap_or(0),
        _ => arguments.prefetch.unwrap_or(needed),
    };
    let options = ConsumeOptions::new()
        .prefetch(prefetch)
        .no_ack(arguments.then == Then::NoAck)
        .exclusive(arguments.exclusive);
    Ok(match arguments.offset {
        Some(Offset(offset)) => options.stream_offset(offset),
        None => options,
    })
}

/// Runs the program for each message, and returns how to end.
async fn run_children(
    receiving: &mut Receiving<'_, Printer>,
    mut deliveries: impl Stream<Item = Incoming> + Unpin,
    arguments: &Arguments,
) -> Result<Exit, Error> {
    while let Some(incoming) = receiving.next(&mut deliveries).await? {
        let delivery = incoming.map_err(Error::broker("receive messages"))?;
        let (view, acker) = receiving.view(delivery);
        let status = child::run(&arguments.command, &view).await?;
        let settled = match (status.success(), arguments.on_failure) {
            (true, _) => receiving.held.settle(acker, receiving.then).await,
            (false, _) if receiving.then == Then::NoAck => Ok(()),
            (false, OnFailure::Nack) => acker.nack(false).await,
            (false, OnFailure::Requeue | OnFailure::Stop) => acker.nack(true).await,
        };
        settled.map_err(Error::broker("settle a message"))?;
        if !status.success() && arguments.on_failure == OnFailure::Stop {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(Exit::Failed, Exit::Other));
        }
    }
    Ok(receiving.exit())
}
