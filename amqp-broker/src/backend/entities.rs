//! The entities that clients declare.

use std::fmt;

use amqp_codec::Table;

/// The way in which an exchange routes (spec section 3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// To the queues that are bound with the message's routing key.
    Direct,
    /// To all bound queues.
    Fanout,
    /// To the queues that are bound with a pattern that the routing key matches.
    Topic,
}

impl ExchangeKind {
    /// The kind of this name; `None` for all others, headers exchanges among them.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(ExchangeKind::Direct),
            "fanout" => Some(ExchangeKind::Fanout),
            "topic" => Some(ExchangeKind::Topic),
            _ => None,
        }
    }

    /// Its name in `exchange.declare`.
    pub const fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
        }
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An exchange, as a client declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeDeclaration {
    /// Its name, which is not empty and does not begin with `amq.`.
    pub name: String,
    /// Its type, which tells where its messages go.
    pub kind: ExchangeKind,
    /// Set when it is to survive a restart of the broker.
    pub durable: bool,
    /// Set when it is deleted with its last binding.
    pub auto_delete: bool,
    /// Set when clients may not publish to it.
    pub internal: bool,
    /// Its further arguments. A backend refuses those that it cannot serve.
    pub arguments: Table,
}

/// A queue, as a client declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueDeclaration {
    /// Its name, which is not empty.
    pub name: String,
    /// Set when it is to survive a restart of the broker.
    pub durable: bool,
    /// Set when it belongs to the connection that declares it. The gateway keeps others away from
    /// it, and deletes it at the end of that connection.
    pub exclusive: bool,
    /// Set when it is deleted with its last consumer.
    pub auto_delete: bool,
    /// Its further arguments. A backend refuses those that it cannot serve.
    pub arguments: Table,
}
