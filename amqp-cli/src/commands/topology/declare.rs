//! `amqp declare`

use clap::Subcommand;

use super::{declare_exchange, declare_queue};
use crate::{context::Context, error::Error, exit::Exit};

/// Declares a queue or an exchange: it is there afterwards, as described
#[derive(Debug, Subcommand)]
pub(crate) enum Arguments {
    Queue(Box<declare_queue::Arguments>),
    Exchange(Box<declare_exchange::Arguments>),
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    match arguments {
        Arguments::Queue(arguments) => declare_queue::run(*arguments, context).await,
        Arguments::Exchange(arguments) => declare_exchange::run(*arguments, context).await,
    }
}
