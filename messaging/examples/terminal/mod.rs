//! What the examples have in common: a log, errors in words, standard input.
#![allow(dead_code, reason = "each example needs a part of it")]

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use tracing_subscriber::EnvFilter;

/// Logs to standard error what `RUST_LOG` says, `info` or `messaging=debug`, say; `or` is what it
/// says when it is not set.
pub(crate) fn log(or: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(or));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// Exit code 0, or 1 and why, in one line.
pub(crate) fn end(program: &str, result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(program, &chain(&*error)),
    }
}

pub(crate) fn failed(program: &str, why: &str) -> ExitCode {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{program}: {line}");
    ExitCode::FAILURE
}

/// An error in words, with the causes that it does not tell of itself.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// What stands on the command line, or on standard input where that is `-`.
pub(crate) fn text(argument: &str) -> io::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
