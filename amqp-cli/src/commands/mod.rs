//! The commands: a module each, with its `Arguments` and `run`, in folders by subject.

mod messages;
mod program;

use clap::Subcommand;

use crate::{
    commands::{
        messages::get,
        program::{completions, man},
    },
    context::Context,
    error::Error,
    exit::Exit,
};

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(get::Arguments),
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
            Command::Get(arguments) => get::run(arguments, context).await,
            // These describe the program itself, which answers them without a runtime.
            Command::Completions(_) | Command::Man(_) => Ok(Exit::Done),
        }
    }
}
