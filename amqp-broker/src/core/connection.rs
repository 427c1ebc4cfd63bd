//! What the virtual host keeps of a connection.

use super::{arena::Id, channel::ChannelId, queue::QueueId};

/// Names a connection for as long as it exists.
pub(crate) type ConnectionId = Id<Connection>;

/// A connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Whether the client wants to be told when the broker ends a consumer.
    pub(crate) cancel_notify: bool,
    /// Whether so much waits to be written that nothing more is to be delivered for now.
    pub(crate) congested: bool,
    pub(crate) channels: Vec<ChannelId>,
    /// The queues that go with it.
    pub(crate) exclusive_queues: Vec<QueueId>,
}
