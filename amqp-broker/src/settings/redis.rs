//! The Redis behind the virtual host, from a flag or a file.

use std::ffi::OsStr;

use crate::redis::{RedisOptions, RedisOptionsError};
use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{Error, ErrorKind},
};
use serde::{Deserialize, Deserializer, de};

/// A Redis. Neither its `Debug` nor its errors show a password.
#[derive(Clone, Debug)]
pub(super) struct RedisUrl(pub(super) RedisOptions);

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        read(&url).map(RedisUrl).map_err(de::Error::custom)
    }
}

fn read(url: &str) -> Result<RedisOptions, RedisOptionsError> {
    let options = RedisOptions::parse(url)?;
    options.check().map(|()| options)
}

/// Reads a URL. Its errors do not show the text, which may contain a password; those of clap's own
/// parsers would.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedisUrlParser;

impl TypedValueParser for RedisUrlParser {
    type Value = RedisUrl;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<RedisUrl, Error> {
        let parsed = value.to_str().map(read);
        let why = match parsed {
            Some(Ok(options)) => return Ok(RedisUrl(options)),
            Some(Err(error)) => error.to_string(),
            None => "a URL is UTF-8".to_owned(),
        };
        Err(command.clone().error(ErrorKind::ValueValidation, format!("--redis: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_without_the_url() {
        for (url, told) in [
            ("sentinel://:hunter2@a", "sentinel:// requires the option `master_name`"),
            ("redis://:hunter2@a/x", "--redis: the Redis database is not a whole number"),
            ("redis://:hunter2@a?nope=1", "has no option `nope`"),
            ("kafka://:hunter2@a", "implement amqp_broker::backend::Backend"),
        ] {
            let parsed = RedisUrlParser.parse_ref(&Command::new("amqp-broker"), None, OsStr::new(url));
            let error = parsed.unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
