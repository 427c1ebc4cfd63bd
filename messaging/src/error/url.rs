//! The errors of a transport URL.

/// The reason why a transport URL was refused. The text never repeats a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("it has no scheme; expected amqp://, amqps://, rabbit://, redis:// or memory://")]
    NoScheme,
    /// The scheme is unknown.
    #[error(
        "the scheme {0:?} is unknown; expected amqp, amqps, rabbit, redis, sentinel, filesystem or memory"
    )]
    UnknownScheme(String),
    /// The scheme, the option or its value needs a feature of this crate that is off.
    #[error("{what} is not in this build: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// What needs the feature.
        what: &'static str,
        /// The feature that turns it on.
        feature: &'static str,
    },
    /// The port is not a number from 0 to 65535. It is not repeated, because it may be a password
    /// whose host is missing.
    #[error("the port of host {host:?} is not a number from 0 to 65535")]
    BadPort {
        /// The host it belongs to.
        host: String,
    },
    /// An IPv6 address lacks its closing bracket.
    #[error("the address {0:?} lacks its closing bracket")]
    UnclosedBracket(String),
    /// A transport that is not AMQP over a network is combined with other URLs. Failing over is
    /// impossible between brokers that share nothing.
    #[error("{0}:// cannot be combined with other URLs")]
    AmongOthers(String),
    /// The user name or password seems to contain a character that ends it, `/`, `?`, `#` or `;`:
    /// an `@` follows later.
    #[error(
        "there is an @ after {0:?}: percent-encode / ? # and ; in a user name or password, and an @ after the hosts"
    )]
    Unescaped(char),
    /// The URL ends with a newline, as text read from a file does.
    #[error("it ends with a newline: trim text that is read from a file")]
    Newline,
    /// The URL is surrounded by white space, or contains a control character.
    #[error("it is surrounded by white space, or contains a control character")]
    Space,
    /// A percent-encoded part is not UTF-8.
    #[error("the percent-decoded {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// The option is unknown or not supported in this version.
    #[error("option {0:?} is not supported")]
    UnknownOption(String),
    /// It is a transport that kombu has and this project has not.
    #[cfg(feature = "memory")]
    #[error(transparent)]
    Unsupported(#[from] amqp_broker::backend::UnsupportedScheme),
    /// A `redis://` URL is refused.
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(#[from] amqp_broker::redis::RedisOptionsError),
    /// A `filesystem://` URL is refused.
    #[cfg(feature = "filesystem")]
    #[error(transparent)]
    Filesystem(#[from] amqp_broker::filesystem::FilesystemUrlError),
    /// An option's value cannot be read.
    #[error("option {option:?} has the value {value:?}; expected {expected}")]
    BadOption {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// The values that are allowed.
        expected: &'static str,
    },
}
