//! Why a policy is refused.

use crate::core::rabbitmq::access::pattern::InvalidPattern;

/// Why a policy is refused. The texts about values are RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// Its definition is empty.
    #[error("no policy provided")]
    NoSettings,
    /// Its definition has keys that policies of this kind do not have, in the version that the
    /// broker is like or in any.
    #[error("{} are not recognised policy settings", keys.join(", "))]
    UnknownKeys {
        /// The keys, as they are written.
        keys: Vec<String>,
    },
    /// Its definition has a key twice.
    #[error("{key}: duplicate keys not allowed")]
    KeyTwice {
        /// The key.
        key: String,
    },
    /// A value is not what its key needs.
    #[error("{value} is not a valid {what}")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// The value, cut where it is long.
        value: String,
        /// The kind of value that the key needs.
        what: &'static str,
    },
    /// Its pattern is not a regular expression.
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    /// Its name is longer than 255 bytes.
    #[error("a policy's name has at most 255 bytes, and not {length}")]
    InvalidName {
        /// The length of the name in bytes.
        length: usize,
    },
    /// The virtual host has no memory left for it.
    #[error("the memory limit of virtual host '{vhost}', {limit} bytes, leaves no room for another policy")]
    NoMemory {
        /// The name of the virtual host.
        vhost: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The broker has no such virtual host, or its other side is a backend, which has no policies.
    #[error("there is no virtual host '{vhost}' that has policies")]
    NoVhost {
        /// The name of the virtual host.
        vhost: String,
    },
}
