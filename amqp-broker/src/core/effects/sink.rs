//! Where the effects of an operation on others go. They are handed over as they happen, borrowed,
//! so that a delivery costs no allocation.

use amqp_codec::ShortString;

use crate::core::{content::message::Parts, entities::ids::ConnectionId, rabbitmq::refusal::Refusal};

/// A message for a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// The channel's number.
    pub(crate) channel: u16,
    pub(crate) consumer_tag: &'a ShortString,
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) parts: Parts<'a>,
}

/// Takes the effects.
pub(crate) trait Sink {
    /// A message goes out. `false` when the connection has enough to write: nothing more is
    /// delivered to it until [`drained`](crate::core::vhost::Vhost::drained).
    fn deliver(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool;

    /// A reply to a request goes out, though the connection has enough to write, for it waits
    /// nowhere else. `false` when it is dropped, for far too much waits.
    fn reply(&mut self, to: ConnectionId, delivery: Delivery<'_>) -> bool;

    /// The broker closes a channel: it has ended already when the client is told.
    fn close_channel(&mut self, to: ConnectionId, channel: u16, why: &Refusal);

    /// The broker ended a consumer of a client that wants to be told.
    fn cancel(&mut self, to: ConnectionId, channel: u16, consumer_tag: &ShortString);

    /// A message that was published on a channel is returned, for no queue wants it.
    fn return_unroutable(&mut self, to: ConnectionId, channel: u16, parts: Parts<'_>);

    /// What a connection waits for has come about.
    fn wake(&mut self, id: ConnectionId);
}
