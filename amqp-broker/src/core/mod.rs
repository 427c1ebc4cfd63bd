//! The broker without IO: `(now, operation) -> effects`. No sockets, no clock, no threads, no runtime.
//!
//! Time is milliseconds since the broker began. Effects on other connections go to a [`sink::Sink`]; what concerns the
//! caller is returned.

pub(crate) mod arena;
pub(crate) mod arguments;
pub(crate) mod channel;
pub(crate) mod connection;
mod consume;
pub(crate) mod consumer;
mod copies;
pub(crate) mod deliver;
pub(crate) mod exchange;
mod headers;
mod lifecycle;
pub(crate) mod message;
pub(crate) mod properties;
mod publication;
pub(crate) mod publish;
pub(crate) mod queue;
pub(crate) mod ready;
pub(crate) mod refusal;
pub(crate) mod sink;
pub(crate) mod term;
mod topic;
pub(crate) mod topology;
pub(crate) mod unacked;
pub(crate) mod vhost;
