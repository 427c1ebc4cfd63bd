//! The Redis behind the virtual host, from a flag or a file.

use std::ffi::OsStr;

use amqp_broker::redis::RedisOptions;
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
        RedisOptions::parse(&url).map(RedisUrl).map_err(de::Error::custom)
    }
}

/// Reads a URL. Its errors do not show the text, which may contain a password; those of clap's own
/// parsers would.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedisUrlParser;

impl TypedValueParser for RedisUrlParser {
    type Value = RedisUrl;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<RedisUrl, Error> {
        let parsed = value.to_str().map(RedisOptions::parse);
        let why = match parsed {
            Some(Ok(options)) => return Ok(RedisUrl(options)),
            Some(Err(error)) => error.to_string(),
            None => "a URL is UTF-8".to_owned(),
        };
        Err(command.clone().error(ErrorKind::ValueValidation, format!("--redis: {why}")))
    }
}
