//! The broker without IO: `(now, operation) -> effects`. No sockets, no clock, no threads, no runtime.
//!
//! Time is milliseconds since the broker began. Effects on other connections go to a [`sink::Sink`]; what concerns the
//! caller is returned.

mod ack_timeout;
pub(crate) mod budget;
mod channel;
pub(crate) mod collections;
pub(crate) mod commit;
mod connection;
mod consume;
mod consumer;
pub(crate) mod content;
mod dead_letter;
pub(crate) mod deliver;
pub(crate) mod exchange;
mod graveyard;
mod headers;
pub(crate) mod ids;
pub(crate) mod inspect;
pub(crate) mod journal;
mod lifecycle;
pub(crate) mod limits;
mod line;
mod lost_replies;
mod permit;
mod proceed;
mod publication;
pub(crate) mod publish;
pub(crate) mod publishing;
mod queue;
pub(crate) mod rabbitmq;
mod ready;
pub(crate) mod removal;
mod remove;
mod reply_consumer;
pub(crate) mod reply_to;
pub(crate) mod restore;
mod route;
mod routing;
pub(crate) mod sink;
pub(crate) mod step;
mod stream;
mod ticket;
mod topic;
pub(crate) mod topology;
mod turns;
pub(crate) mod unacked;
pub(crate) mod vhost;
mod waiting;
pub(crate) mod work;
