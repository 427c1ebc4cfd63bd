//! The program's log, to standard error.

use std::{
    fmt::Display,
    io::{IsTerminal, stderr},
};

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// A line of text for each event
    #[default]
    Text,
    /// A JSON object for each event, one a line
    Json,
}

/// An invalid filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "{of} {filter}: it is neither one of the levels {LEVELS} nor a filter such as amqp_broker=debug: {why}"
)]
pub(crate) struct FilterError {
    of: &'static str,
    filter: String,
    why: String,
}

const LEVELS: &str = "off, error, warn, info, debug, trace";

/// Begins to log.
///
/// # Errors
/// When the filter is invalid.
pub(crate) fn begin(filter: Option<&str>, format: LogFormat) -> Result<(), FilterError> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter_of(filter)?).with_writer(stderr);
    match format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

fn filter_of(filter: Option<&str>) -> Result<EnvFilter, FilterError> {
    let Some(filter) = filter else { return filter_around() };
    // To tracing such a word is a target, so a misspelt level would silence everything.
    let is_level = LEVELS.split(", ").any(|level| level.eq_ignore_ascii_case(filter));
    if !is_level && filter.chars().all(char::is_alphabetic) {
        return Err(refused("--log", filter, "no level has this name"));
    }
    EnvFilter::try_new(filter).map_err(|error| refused("--log", filter, error))
}

/// The filter from the environment, which may be meant for other programs too.
fn filter_around() -> Result<EnvFilter, FilterError> {
    match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => {
            EnvFilter::try_new(&filter).map_err(|error| refused("RUST_LOG", &filter, error))
        }
        _ => Ok(EnvFilter::new("info")),
    }
}

fn refused(of: &'static str, filter: &str, why: impl Display) -> FilterError {
    FilterError { of, filter: filter.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_one_of_tracings() {
        for filter in
            ["info", "WARN", "off", "amqp_broker=debug", "info,amqp_broker::server=trace", "amqp_broker"]
        {
            assert!(filter_of(Some(filter)).is_ok(), "{filter}");
        }
        for filter in ["inf", "warning", "", "==", "amqp_broker=loud"] {
            let error = filter_of(Some(filter)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--log {filter}: it is neither")), "{error}");
        }
    }
}
