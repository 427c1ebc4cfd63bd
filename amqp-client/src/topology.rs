//! Exchanges and queues as values: declared, published to, consumed from, and declared again after a reconnect.

use amqp_codec::{Table, Value};

use crate::error::{Error, Result};

/// An exchange: its name, type and options.
///
/// Defaults: not durable, not auto-delete, not internal, no arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Table,
}

impl Exchange {
    /// Of a type given by name, for types a plugin adds.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Exchange {
            name: name.into(),
            kind: kind.into(),
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Table::new(),
        }
    }

    /// Routes to the queues bound with exactly the routing key.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, "direct")
    }

    /// Routes to all queues bound.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, "fanout")
    }

    /// Routes by patterns: words between dots, `*` for one word, `#` for any number.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, "topic")
    }

    /// Routes by the message's headers.
    pub fn headers(name: impl Into<String>) -> Self {
        Self::new(name, "headers")
    }

    /// Whether it outlives a restart of the broker.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether it goes with its last binding.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Whether only exchanges may publish to it.
    pub fn internal(mut self, internal: bool) -> Self {
        self.internal = internal;
        self
    }

    /// Any further argument, such as `alternate-exchange`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.arguments.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type's name.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl AsRef<str> for Exchange {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// A queue: its name and options.
///
/// Defaults: not durable, not exclusive, not auto-delete, no arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub(crate) name: String,
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
    pub(crate) arguments: Table,
}

impl Queue {
    /// A transient queue; with an empty name the broker gives one.
    pub fn new(name: impl Into<String>) -> Self {
        Queue {
            name: name.into(),
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: Table::new(),
        }
    }

    /// A queue that outlives a restart of the broker.
    pub fn durable(name: impl Into<String>) -> Self {
        Queue { durable: true, ..Self::new(name) }
    }

    /// Whether only this connection may use it; it goes with the connection.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Whether it goes with its last consumer.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Any further argument, such as `x-max-length`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.arguments.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    /// The name; empty when the broker is to give one.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl AsRef<str> for Queue {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// What the broker tells of a queue when it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// The name, the broker's own when an empty one was declared.
    pub name: String,
    /// Messages ready to be delivered.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

impl AsRef<str> for QueueInfo {
    fn as_ref(&self) -> &str {
        &self.name
    }
}
