//! The commands: a module each, with its `Arguments` and `run`, in folders by subject.

mod messages;
mod program;
mod topology;

use clap::Subcommand;

use crate::{
    commands::{
        messages::{get, publish, subscribe},
        program::{completions, man},
        topology::{bind, declare, delete, purge},
    },
    context::Context,
    error::Error,
    exit::Exit,
};

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "pub", visible_alias = "publish")]
    Publish(publish::Arguments),
    #[command(name = "sub", visible_alias = "subscribe")]
    Subscribe(subscribe::Arguments),
    Get(get::Arguments),
    #[command(subcommand)]
    Declare(declare::Arguments),
    Bind(bind::Arguments),
    Unbind(bind::UnbindArguments),
    #[command(subcommand)]
    Delete(delete::Arguments),
    Purge(purge::Arguments),
    /// Runs a broker; all arguments are those of the program amqp-broker
    Serve(Box<amqp_broker::program::Arguments>),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Command {
    /// Tells whether the command has work for several threads. Others start faster without them.
    pub(crate) fn uses_threads(&self) -> bool {
        false
    }

    /// Runs the command, and returns how the program ends.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Error> {
        match self {
            Command::Publish(arguments) => publish::run(arguments, context).await,
            Command::Subscribe(arguments) => subscribe::run(arguments, context).await,
            Command::Get(arguments) => get::run(arguments, context).await,
            Command::Declare(arguments) => declare::run(arguments, context).await,
            Command::Bind(arguments) => bind::run(arguments, context).await,
            Command::Unbind(arguments) => bind::run_unbind(arguments, context).await,
            Command::Delete(arguments) => delete::run(arguments, context).await,
            Command::Purge(arguments) => purge::run(arguments, context).await,
            // These need no runtime, or have one of their own, so that the program answers them.
            Command::Serve(_) | Command::Completions(_) | Command::Man(_) => Ok(Exit::Done),
        }
    }
}
