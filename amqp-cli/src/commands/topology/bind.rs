//! `amqp bind` and `amqp unbind`

use amqp_client::{Binding, Channel, Destination};
use clap::Args;

use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::assignment::{Assignment, table_of},
};

/// Binds a queue, or an exchange, to an exchange
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    bindings: Bindings,
}

/// Removes bindings of a queue, or an exchange, to an exchange
#[derive(Args, Debug)]
pub(crate) struct UnbindArguments {
    #[command(flatten)]
    bindings: Bindings,
}

#[derive(Args, Debug)]
struct Bindings {
    /// The exchange that messages come from
    source: String,

    /// The queue that they go to
    destination: String,

    /// The routing keys or patterns; a binding each
    #[arg(value_name = "KEY", default_value = "", hide_default_value = true)]
    keys: Vec<String>,

    /// Takes the destination for an exchange
    #[arg(short, long)]
    exchange: bool,

    /// An argument, as x-match and those that a headers exchange compares; KEY:=JSON for other
    /// types than text; may be repeated
    #[arg(short, long = "argument", value_name = "KEY=TEXT")]
    arguments: Vec<Assignment>,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    change(arguments.bindings, context, false).await
}

pub(crate) async fn run_unbind(arguments: UnbindArguments, context: &Context) -> Result<Exit, Error> {
    change(arguments.bindings, context, true).await
}

async fn change(bindings: Bindings, context: &Context, removes: bool) -> Result<Exit, Error> {
    let table = table_of(&bindings.arguments)?;
    let target = Target::of(&bindings.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    for key in &bindings.keys {
        let destination = match bindings.exchange {
            true => Destination::Exchange(bindings.destination.clone()),
            false => Destination::Queue(bindings.destination.clone()),
        };
        let binding = Binding::new(destination, &bindings.source).routing_key(key).args(table.clone());
        context.interrupt.or(change_one(&channel, &bindings, binding, removes)).await?;
    }
    close(&connection).await;
    Ok(Exit::Done)
}

async fn change_one(
    channel: &Channel,
    bindings: &Bindings,
    binding: Binding,
    removes: bool,
) -> Result<(), Error> {
    let act = if removes { "unbind" } else { "bind" };
    let what = format!("{act} {:?} and exchange {:?}", bindings.destination, bindings.source);
    let changed = if removes { channel.unbind(binding).await } else { channel.bind(binding).await };
    changed.map_err(Error::broker(what))
}
