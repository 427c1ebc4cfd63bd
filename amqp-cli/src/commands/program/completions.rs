//! `amqp completions`

use clap::Args;
use clap_complete::{Shell, generate};

use crate::{error::Error, exit::Exit, output::stdout::Stdout};

/// Prints the completions of a shell
///
/// bash: `amqp completions bash > ~/.local/share/bash-completion/completions/amqp`; zsh: a file
/// `_amqp` in a folder of `fpath`; fish: `~/.config/fish/completions/amqp.fish`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    /// Prints them for the program.
    ///
    /// # Errors
    /// As [`Stdout::write`].
    pub(crate) fn run(&self, mut program: clap::Command) -> Result<Exit, Error> {
        let mut script = Vec::new();
        generate(self.shell, &mut program, "amqp", &mut script);
        let mut stdout = Stdout::new();
        stdout.write(&script)?;
        stdout.flush()?;
        Ok(Exit::Done)
    }
}
