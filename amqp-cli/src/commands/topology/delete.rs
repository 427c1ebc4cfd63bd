//! `amqp delete`

use amqp_client::DeleteOptions;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    output::{arguments::OutputArguments, screen::Screen},
};

/// Deletes a queue or an exchange
///
/// To delete what is not there is no error, as RabbitMQ has it.
#[derive(Debug, Subcommand)]
pub(crate) enum Arguments {
    Queue(QueueArguments),
    Exchange(ExchangeArguments),
}

/// Deletes a queue, and prints how many messages it had
#[derive(Args, Debug)]
pub(crate) struct QueueArguments {
    /// The queue
    queue: String,

    /// Refuses if it has consumers
    #[arg(long)]
    if_unused: bool,

    /// Refuses if it has messages
    #[arg(long)]
    if_empty: bool,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Deletes an exchange
#[derive(Args, Debug)]
pub(crate) struct ExchangeArguments {
    /// The exchange
    exchange: String,

    /// Refuses if it has bindings
    #[arg(long)]
    if_unused: bool,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The output.
#[derive(Serialize)]
struct Deleted<'a> {
    queue: &'a str,
    messages: u32,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    match arguments {
        Arguments::Queue(arguments) => delete_queue(arguments, context).await,
        Arguments::Exchange(arguments) => delete_exchange(arguments, context).await,
    }
}

async fn delete_queue(arguments: QueueArguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let options = DeleteOptions::new().if_unused(arguments.if_unused).if_empty(arguments.if_empty);
    let what = format!("delete queue {:?}", arguments.queue);
    let messages = channel.delete_queue(&arguments.queue, options).await.map_err(Error::broker(what))?;
    screen.object(&Deleted { queue: &arguments.queue, messages }, &messages.to_string())?;
    close(&connection).await;
    Ok(Exit::Done)
}

async fn delete_exchange(arguments: ExchangeArguments, context: &Context) -> Result<Exit, Error> {
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let options = DeleteOptions::new().if_unused(arguments.if_unused);
    let what = format!("delete exchange {:?}", arguments.exchange);
    channel.delete_exchange(&arguments.exchange, options).await.map_err(Error::broker(what))?;
    close(&connection).await;
    Ok(Exit::Done)
}
