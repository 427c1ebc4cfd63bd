//! `amqp purge`

use clap::Args;
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

/// Drops the messages of a queue that nobody has, and prints how many there were
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The queue
    queue: String,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The output.
#[derive(Serialize)]
struct Purged<'a> {
    queue: &'a str,
    messages: u32,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let what = format!("purge queue {:?}", arguments.queue);
    let messages = channel.purge(&arguments.queue).await.map_err(Error::broker(what))?;
    screen.object(&Purged { queue: &arguments.queue, messages }, &messages.to_string())?;
    close(&connection).await;
    Ok(Exit::Done)
}
