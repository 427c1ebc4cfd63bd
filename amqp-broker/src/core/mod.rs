//! The broker without IO: `(now, operation) -> effects`. No sockets, no clock, no threads, no runtime.
//!
//! Time is milliseconds since the broker began. Effects on other connections go to a [`sink::Sink`]; what concerns the
//! caller is returned.

pub(crate) mod budget;
pub(crate) mod collections;
pub(crate) mod content;
pub(crate) mod effects;
pub(crate) mod entities;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod rabbitmq;
pub(crate) mod vhost;
pub(crate) mod work;
