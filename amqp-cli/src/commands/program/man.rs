//! `amqp man`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use clap_mangen::Man;

use crate::{error::Error, exit::Exit, output::stdout::Stdout};

/// Prints the manual page of the program, or writes those of all commands to a folder
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The folder for the pages: amqp.1, amqp-pub.1 and so on
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Arguments {
    /// Prints or writes them.
    ///
    /// # Errors
    /// As [`Stdout::write`], [`Error::File`], [`Error::DiskFull`].
    pub(crate) fn run(&self, mut program: clap::Command) -> Result<Exit, Error> {
        program.build();
        match &self.folder {
            Some(folder) => write_all(folder, &program)?,
            None => {
                let mut stdout = Stdout::new();
                stdout.write(&page(&program)?)?;
                stdout.flush()?;
            }
        }
        Ok(Exit::Done)
    }
}

fn write_all(folder: &Path, command: &clap::Command) -> Result<(), Error> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(Error::file("write", &path))?;
    let mut commands = command.get_subcommands().filter(|command| command.get_name() != "help");
    commands.try_for_each(|command| write_all(folder, command))
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Error> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(Error::Output)?;
    Ok(page)
}
