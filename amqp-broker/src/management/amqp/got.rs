//! A message that was fetched.

use amqp_codec::Properties;
use bytes::Bytes;

/// A message that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct GotMessage {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// The number of messages that are left in the queue.
    pub(crate) remaining: u32,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}
