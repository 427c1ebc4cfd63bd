//! Messages on their way through a backend.

use amqp_codec::{Properties, ShortString};
use bytes::Bytes;

use super::backend_error::BackendError;

/// A message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The exchange it is published to; empty for the default exchange.
    pub exchange: ShortString,
    /// Its routing key.
    pub routing_key: ShortString,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

/// The outcome of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is stored in a queue, or handed to whoever subscribes to its exchange.
    Routed,
    /// No queue takes it. It is returned if it is mandatory, and otherwise dropped.
    Unroutable,
    /// It is not stored, or nobody knows whether it is: it is answered with `basic.nack`.
    Rejected,
    /// It is refused, and the channel is closed: the exchange does not exist, for example.
    Refused(BackendError),
}

/// A queue that messages are wanted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The queue's name.
    pub queue: &'a str,
    /// Set when a message counts as settled as soon as it is delivered.
    pub no_ack: bool,
    /// The most messages wanted, at least 1.
    pub most: usize,
}

/// A message that was taken from a queue.
#[derive(Debug)]
pub struct Claimed<C> {
    /// The index of its [`Source`].
    pub source: usize,
    /// The message. `exchange` and `routing_key` are those that it was published with.
    pub message: Message,
    /// Set when it may have been delivered before.
    pub redelivered: bool,
    /// The backend's own value to settle it with; `None` when nothing is to be settled.
    pub claim: Option<C>,
}

/// The verdict on a claimed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is done.
    Ack,
    /// It goes to the dead-letter queue if its queue has one, and is dropped otherwise.
    Reject,
    /// It returns to the front of its queue, marked as redelivered.
    Requeue,
}
