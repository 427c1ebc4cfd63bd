//! The virtual host's part of a connection.

use std::collections::BTreeSet;

use super::ids::{ChannelId, QueueId};
use crate::core::rabbitmq::access::Access;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) name: String,
    pub(crate) access: Access,
    /// Whether the client wants to be told when the broker ends a consumer.
    pub(crate) cancel_notify: bool,
    /// Whether so much output waits that nothing more is delivered for now.
    pub(crate) congested: bool,
    pub(crate) channels: Vec<ChannelId>,
    /// The exclusive queues, which are deleted with it.
    pub(crate) exclusive_queues: BTreeSet<QueueId>,
    /// Whether it is closing: its exclusive queues count as deleted.
    pub(crate) is_leaving: bool,
}

impl Connection {
    /// The memory of a connection besides its buffers, in bytes. An estimate.
    pub(crate) const WEIGHT: u64 = 10_000;

    pub(crate) fn new(name: String, access: Access, cancel_notify: bool) -> Self {
        Connection {
            name,
            access,
            cancel_notify,
            congested: false,
            channels: Vec::new(),
            exclusive_queues: BTreeSet::new(),
            is_leaving: false,
        }
    }
}
