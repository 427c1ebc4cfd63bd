//! The seam between AMQP and message stores that are not brokers: whoever implements [`Backend`]
//! has a transport for every AMQP client.
//!
//! A broker with a [backend](crate::BrokerBuilder::backend) speaks AMQP with its clients, and asks
//! the backend for what it would do itself otherwise. The broker keeps whatever belongs to a
//! connection: channels, consumers, prefetch, delivery tags, confirms, returns, exclusive queues.
//! The backend keeps what outlives it: exchanges, bindings, messages, and which of them are
//! claimed.

mod backend_error;
mod bindings;
mod entities;
mod message;
mod traits;
mod unsupported;
mod wakes;

pub(crate) use self::wakes::News;
pub use self::{
    backend_error::BackendError,
    bindings::{Binding, topic_matches},
    entities::{ExchangeDeclaration, ExchangeKind, QueueDeclaration},
    message::{Claimed, Message, Published, Settlement, Source},
    traits::{Backend, Link},
    unsupported::{UnsupportedScheme, unsupported_scheme},
    wakes::Wakes,
};
