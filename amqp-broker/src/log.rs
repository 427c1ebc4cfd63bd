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

/// The filter of the store's libraries beside a level. Their errors name causes that they do not
/// return, as when a thread of theirs fails; the rest is about their insides.
const LIBRARIES: &str = "fjall=error,lsm_tree=error";

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
    if is_level {
        return Ok(of_level(filter));
    }
    if filter.chars().all(char::is_alphabetic) {
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
        _ => Ok(of_level("info")),
    }
}

/// Returns the filter for a level.
fn of_level(level: &str) -> EnvFilter {
    match level.eq_ignore_ascii_case("off") {
        true => EnvFilter::new(level),
        false => EnvFilter::new(format!("{level},{LIBRARIES}")),
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

    #[test]
    fn a_level_shows_the_libraries_of_the_store_by_their_errors_alone() {
        let shown = |filter| filter_of(Some(filter)).unwrap().to_string();
        for level in ["info", "DEBUG", "error"] {
            let shown = shown(level);
            assert!(LIBRARIES.split(',').all(|library| shown.contains(library)), "{shown}");
        }
        assert_eq!((shown("off"), shown("fjall=debug")), ("off".to_owned(), "fjall=debug".to_owned()));
    }
}
