//! What is wrong with a URL or an option.

use super::refused::refused;
use crate::backend::UnsupportedScheme;

/// Why a URL or an option of a Redis transport is refused. No variant holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisOptionsError {
    /// The URL is malformed.
    #[error("the Redis URL is invalid: {0}")]
    InvalidUrl(String),
    /// The scheme belongs to another transport.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedScheme),
    /// The database is not a whole number.
    #[error("the Redis database is not a whole number, as 3 in redis://host/3")]
    InvalidDatabase,
    /// There is no option of this name.
    #[error("the Redis transport has no option `{0}`")]
    UnknownOption(String),
    /// There is no option of this name in `sentinel_kwargs`.
    #[error(
        "sentinel_kwargs has no option `{0}`: there are username, password, socket_timeout, ssl, ssl_cert_reqs, \
         ssl_check_hostname, ssl_ca_certs, ssl_ca_data, ssl_certfile and ssl_keyfile"
    )]
    UnknownSentinelOption(String),
    /// kombu or redis-py has the option, and it cannot have its effect here.
    #[error("the option `{option}` has no place in a URL of the Redis transport: {reason}")]
    RefusedOption {
        /// The option's name.
        option: String,
        /// Why, and what takes its place.
        reason: &'static str,
    },
    /// The value of an option is not what it takes.
    #[error("the option `{option}` of the Redis transport takes {expected}")]
    InvalidValue {
        /// The option's name.
        option: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A `sentinel://` URL does not say which master it is about.
    #[error(
        "sentinel:// requires the option `master_name`: the name under which the sentinels watch the master, \
         as in sentinel://host:26379?master_name=mymaster"
    )]
    MissingMasterName,
}

impl RedisOptionsError {
    pub(super) fn url(reason: impl Into<String>) -> Self {
        RedisOptionsError::InvalidUrl(reason.into())
    }

    /// The error of an option that has no effect of its own.
    pub(super) fn option(option: &str) -> Self {
        let name = option.to_owned();
        match refused(option) {
            Some(reason) => RedisOptionsError::RefusedOption { option: name, reason },
            None => RedisOptionsError::UnknownOption(name),
        }
    }

    pub(super) fn value(option: &str, expected: &'static str) -> Self {
        RedisOptionsError::InvalidValue { option: option.to_owned(), expected }
    }
}
