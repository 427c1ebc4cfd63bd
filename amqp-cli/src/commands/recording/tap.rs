//! `amqp tap`

use clap::Args;

use super::{
    firehose,
    taps::{Tap, tap},
};
use crate::{
    commands::receiving::{
        receive::{EndArguments, Receiving, deliveries},
        settlement::Then,
    },
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::printer::{Printer, PrinterArguments},
    output::notes::note,
};

/// Prints copies of what exchanges route, and changes nothing for anybody
///
/// Topic, fanout and headers exchanges are tapped whole; a direct exchange by the keys that are
/// named. The default exchange ('') has no bindings: copies of what is published to it come from
/// the firehose, which must be on (rabbitmqctl trace_on, or "tracing" of the virtual host in the
/// management API).
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// An exchange, or EXCHANGE:KEY
    #[arg(value_name = "EXCHANGE[:KEY]", required = true)]
    taps: Vec<Tap>,

    /// How many copies may wait at the broker; older ones are dropped for newer ones
    #[arg(long, value_name = "NUMBER")]
    max_length: Option<u32>,

    #[command(flatten)]
    end: EndArguments,

    #[command(flatten)]
    printer: PrinterArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let printer = Printer::new(&arguments.printer)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let tapping = tap(&connection, &channel, &arguments.taps, arguments.max_length);
    let subscribed = context.interrupt.or(tapping).await?;
    // Whoever waits for this line knows that no message is missed from now on.
    note(&format!("tapping {}", target.url()));
    let mut receiving = Receiving::new(printer, Then::NoAck, arguments.end, context);
    receiving.change = firehose::original;
    let ended = receiving.all(deliveries(subscribed)).await;
    close(&connection).await;
    ended
}
