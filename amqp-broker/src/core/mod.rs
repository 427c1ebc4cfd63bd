//! The broker without IO: `(now, operation) -> effects`. No sockets, no clock, no threads, no runtime.
//!
//! Time is milliseconds since the broker began. Effects on other connections go to a [`sink::Sink`]; what concerns the
//! caller is returned.

pub(crate) mod access;
mod ack_timeout;
mod arena;
mod arguments;
mod channel;
mod connection;
mod consume;
mod consumer;
mod copies;
mod dead_letter;
mod death;
pub(crate) mod deliver;
mod equivalence;
pub(crate) mod exchange;
mod graveyard;
mod header_table;
mod headers;
pub(crate) mod ids;
pub(crate) mod inspect;
pub(crate) mod journal;
mod lifecycle;
pub(crate) mod limits;
pub(crate) mod message;
mod permit;
mod properties;
mod publication;
pub(crate) mod publish;
mod queue;
mod ready;
pub(crate) mod refusal;
mod reply_consumer;
pub(crate) mod reply_to;
pub(crate) mod restore;
mod segments;
pub(crate) mod sink;
mod stamp;
mod stream;
pub(crate) mod term;
mod topic;
pub(crate) mod topology;
mod turns;
pub(crate) mod unacked;
pub(crate) mod vhost;
