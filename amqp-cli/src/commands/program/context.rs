//! `amqp context`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    contexts::file::{Contexts, Named},
    error::Error,
    exit::Exit,
    output::{arguments::OutputArguments, screen::Screen, table::Table},
};

/// Keeps named URLs in the user's configuration folder
///
/// They are in $XDG_CONFIG_HOME/amqp/contexts.toml, or ~/.config/amqp/contexts.toml, which this
/// user alone can read.
#[derive(Debug, Subcommand)]
pub(crate) enum Arguments {
    /// Lists them; passwords are not shown
    List(ListArguments),
    /// Adds one, or replaces it
    Add(AddArguments),
    /// Makes one the default
    Use(NameArguments),
    /// Removes one
    Remove(NameArguments),
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct AddArguments {
    /// The name
    name: String,

    /// The URL, without a password
    url: String,

    /// The file whose first line is the password, each time it is needed
    #[arg(long, value_name = "FILE", group = "secret")]
    password_file: Option<PathBuf>,

    /// The variable of the environment that holds the password
    #[arg(long, value_name = "NAME", group = "secret")]
    password_variable: Option<String>,

    /// Asks for the password at the terminal, each time it is needed
    #[arg(long, group = "secret")]
    ask_password: bool,

    /// Keeps the password that is in the URL, in a file that this user alone can read
    #[arg(long, group = "secret")]
    keep_password: bool,
}

#[derive(Args, Debug)]
pub(crate) struct NameArguments {
    /// The name
    name: String,
}

/// A context as it is listed.
#[derive(Serialize)]
struct Listed {
    name: String,
    current: bool,
    url: String,
    password: &'static str,
}

pub(crate) fn run(arguments: Arguments) -> Result<Exit, Error> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::read(&path)?;
    match arguments {
        Arguments::List(arguments) => return list(&contexts, &arguments),
        Arguments::Add(arguments) => add(&mut contexts, arguments)?,
        Arguments::Use(NameArguments { name }) => {
            known(&contexts, &name)?;
            contexts.current = Some(name);
        }
        Arguments::Remove(NameArguments { name }) => {
            known(&contexts, &name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
        }
    }
    contexts.write(&path)?;
    Ok(Exit::Done)
}

fn known(contexts: &Contexts, name: &str) -> Result<(), Error> {
    match contexts.contexts.contains_key(name) {
        true => Ok(()),
        false => Err(Error::Usage(format!("there is no context {name}"))),
    }
}

fn add(contexts: &mut Contexts, arguments: AddArguments) -> Result<(), Error> {
    let AddArguments { name, url, password_file, password_variable, ask_password, keep_password } = arguments;
    // The file may be used from another folder.
    let password_file = password_file
        .map(|path| std::path::absolute(&path).map_err(Error::file("find", &path)))
        .transpose()?;
    let named = Named { url, password_file, password_variable, ask_password };
    if named.shown().has_password() && !keep_password {
        return Err(Error::Usage(
            "a password is in the URL: leave it out, and say where it is with --password-file, \
             --password-variable or --ask-password; or keep it in the file of the contexts with --keep-password"
                .to_owned(),
        ));
    }
    contexts.contexts.insert(name, named);
    Ok(())
}

fn list(contexts: &Contexts, arguments: &ListArguments) -> Result<Exit, Error> {
    let listed: Vec<Listed> = contexts
        .contexts
        .iter()
        .map(|(name, named)| Listed {
            name: name.clone(),
            current: contexts.current.as_ref() == Some(name),
            url: named.shown().to_string(),
            password: password(named),
        })
        .collect();
    Screen::new(&arguments.output).objects(&listed, |listed| {
        let mut table = Table::new(&["", "NAME", "URL", "PASSWORD"]);
        for context in listed {
            let mark = if context.current { "*" } else { "" };
            let cells = [mark, &context.name, &context.url, context.password];
            table.row(cells.map(str::to_owned));
        }
        table
    })?;
    Ok(Exit::Done)
}

/// Where the password of a context is.
fn password(named: &Named) -> &'static str {
    match (&named.password_file, &named.password_variable) {
        (Some(_), _) => "file",
        (None, Some(_)) => "variable",
        (None, None) if named.ask_password => "asked",
        (None, None) if named.shown().has_password() => "kept",
        (None, None) => "",
    }
}
