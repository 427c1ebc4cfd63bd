//! What is wrong with a transport URL.

/// Why a transport URL was refused. It never repeats a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("there is no scheme; expected amqp://, amqps://, rabbit:// or memory://")]
    NoScheme,
    /// A scheme nobody knows here.
    #[error("unknown scheme {0:?}; expected amqp, amqps, rabbit or memory")]
    UnknownScheme(String),
    /// A scheme, an option or what an option asks for, whose feature of this crate is off.
    #[error("{what} is not in this build: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// What is asked for.
        what: &'static str,
        /// The feature that turns it on.
        feature: &'static str,
    },
    /// What stands where the port should is no number from 0 to 65535. It is not repeated: it may
    /// be a password without its host.
    #[error("the port of host {host:?} is not a number from 0 to 65535")]
    BadPort {
        /// The host it belongs to.
        host: String,
    },
    /// An IPv6 address without its closing bracket.
    #[error("the address {0:?} lacks its closing bracket")]
    UnclosedBracket(String),
    /// `memory://` together with other URLs: there is no failing over between brokers that share
    /// nothing.
    #[error("memory:// stands alone, not between semicolons")]
    MemoryAmongOthers,
    /// The user name or password seems to hold a character that ends it, `/`, `?`, `#` or `;`:
    /// there is an `@` behind one.
    #[error(
        "a / ? # or ; in a user name or password is percent-encoded, and so is an @ behind the hosts: there is something odd at {0:?}"
    )]
    Unescaped(char),
    /// It ends with a newline, as what is read from a file does.
    #[error("it ends with a newline: what is read from a file is to be trimmed")]
    Newline,
    /// There is white space around it, or a control character in it.
    #[error("there is white space around it, or a control character in it")]
    Space,
    /// A percent-encoded part that is no UTF-8.
    #[error("the {0} is not UTF-8 once its percent-encoding is read")]
    NotUtf8(&'static str),
    /// An option this version does not know or does not have.
    #[error("option {0:?} is not supported")]
    UnknownOption(String),
    /// An option's value cannot be read.
    #[error("option {option:?} has the value {value:?}; expected {expected}")]
    BadOption {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}
