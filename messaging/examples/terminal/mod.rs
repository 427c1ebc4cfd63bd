//! What the examples have in common: logging, error messages, standard input, signals, seconds.
#![allow(dead_code, reason = "each example needs a part of it")]

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Logs to standard error as `RUST_LOG` says, for example `info` or `messaging=debug`; `or` is the
/// default.
pub(crate) fn log(or: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(or));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// Returns exit code 0; or prints the error in one line and returns 1.
pub(crate) fn end(program: &str, result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(program, &chain(&*error)),
    }
}

pub(crate) fn failed(program: &str, why: &str) -> ExitCode {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    // An error means that standard error is closed, so nobody reads it.
    let _ = writeln!(io::stderr(), "{program}: {line}");
    ExitCode::FAILURE
}

/// Returns the text of an error, with those causes that the text does not contain.
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

/// Returns the argument, or the content of standard input if it is `-`.
pub(crate) fn text(argument: &str) -> io::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Parses an argument in seconds; a fraction is allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// SIGTERM and SIGINT, which are caught from its creation on, so that an early one is not lost.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either of them.
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
