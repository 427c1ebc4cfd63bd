//! The receiver of the effects that an operation has on others. They are passed as they happen, by
//! reference, so that a delivery allocates nothing.

use amqp_codec::ShortString;

use crate::core::{content::message::Parts, entities::ids::ConnectionId, rabbitmq::refusal::Refusal};

/// A message on its way to a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// The channel's number.
    pub(crate) channel: u16,
    pub(crate) consumer_tag: &'a ShortString,
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) parts: Parts<'a>,
}

/// Receives the effects.
pub(crate) trait Sink {
    /// Sends a message. Returns `false` when the connection has enough to write: nothing more is
    /// delivered to it until [`drained`](crate::core::vhost::Vhost::drained).
    fn deliver(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool;

    /// Sends a direct reply, even if the connection has enough to write, because no queue holds it.
    /// Returns `false` when it is dropped because far too much waits already.
    fn reply(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool;

    /// Tells the client that the broker closes a channel, which has already ended here.
    fn close_channel(&mut self, to: ConnectionId, channel: u16, why: &Refusal);

    /// Tells a client that wants to know it that the broker ended a consumer.
    fn cancel(&mut self, to: ConnectionId, channel: u16, consumer_tag: &ShortString);

    /// Returns a message that was published on a channel and that no queue takes.
    fn return_unroutable(&mut self, to: ConnectionId, channel: u16, parts: Parts<'_>);

    /// Wakes a connection, because what it waits for has happened.
    fn wake(&mut self, id: ConnectionId);
}
