//! Where a password comes from.

use std::{
    env,
    fs::read_to_string,
    path::{Path, PathBuf},
};

use crate::{contexts::prompt, error::Error};

/// Where a password comes from. It is never an argument, which every user of the machine can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// The user, at the terminal.
    Prompt,
}

impl SecretSource {
    /// Reads the password.
    ///
    /// # Errors
    /// When the file cannot be read, the variable is not set, or there is no terminal to ask at.
    pub(crate) fn read(&self) -> Result<String, Error> {
        match self {
            SecretSource::File(path) => first_line(path),
            SecretSource::Variable(name) => env::var(name)
                .map_err(|_| Error::Usage(format!("the variable {name} for the password is not set"))),
            SecretSource::Prompt => prompt::password("Password"),
        }
    }
}

fn first_line(path: &Path) -> Result<String, Error> {
    let text = read_to_string(path).map_err(Error::file("read the password from", path))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
