//! The broker without IO: `(now, operation) -> effects`. No sockets, no clock, no threads, no runtime.
//!
//! Time is milliseconds since the broker began. Effects on other connections go to a [`sink::Sink`]; what concerns the
//! caller is returned.

mod ack_timeout;
pub(crate) mod budget;
pub(crate) mod collections;
mod consume;
pub(crate) mod content;
mod dead_letter;
pub(crate) mod deliver;
pub(crate) mod effects;
pub(crate) mod entities;
pub(crate) mod inspect;
pub(crate) mod journal;
mod lifecycle;
pub(crate) mod limits;
mod permit;
mod proceed;
pub(crate) mod publish;
pub(crate) mod rabbitmq;
mod remove;
pub(crate) mod reply_to;
pub(crate) mod restore;
mod route;
pub(crate) mod topology;
pub(crate) mod vhost;
pub(crate) mod work;
