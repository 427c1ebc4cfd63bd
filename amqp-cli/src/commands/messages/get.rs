//! `amqp get`

use amqp_client::GetOptions;
use clap::Args;

use crate::{
    commands::receiving::settlement::{Held, Then},
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::{
        printer::{Printer, PrinterArguments},
        sink::MessageSink as _,
        view::MessageView,
    },
};

/// Takes messages from a queue, as many as there are or --count, and prints them
///
/// An empty queue is exit code 3.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The queue
    queue: String,

    /// The most messages to take; 0 takes all that there are
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1)]
    count: u64,

    /// What becomes of a message once it is printed
    #[arg(short, long, value_enum, value_name = "WHAT", default_value_t)]
    then: Then,

    #[command(flatten)]
    printer: PrinterArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut printer = Printer::new(&arguments.printer)?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let failed = || Error::broker(format!("get from queue {:?}", arguments.queue));
    let options = GetOptions::new().no_ack(arguments.then == Then::NoAck);
    let mut number = 0;
    let mut held = Held::default();
    while (arguments.count == 0 || number < arguments.count) && !context.interrupt.has_come() {
        let getting = async { channel.get(&arguments.queue, options).await.map_err(failed()) };
        let Some(delivery) = context.interrupt.or(getting).await? else { break };
        number += 1;
        let remaining = delivery.remaining();
        let (received, acker) = delivery.split();
        let mut view = MessageView::new(number, &received);
        view.queue = Some(arguments.queue.clone());
        view.remaining = remaining;
        printer.put(&view)?;
        printer.flush()?;
        held.settle(acker, arguments.then).await.map_err(failed())?;
    }
    held.release().await.map_err(failed())?;
    close(&connection).await;
    match (context.interrupt.has_come(), number) {
        (true, _) => Err(Error::Interrupted),
        (false, 0) => Ok(Exit::Nothing),
        (false, _) => Ok(Exit::Done),
    }
}
