//! What is under a virtual host's one lock, and what an operation under it is given.

use crate::core::{ids::ConnectionId, vhost::Vhost};

use super::outbox::Outboxes;

/// A virtual host and what waits to be written to its connections.
pub(crate) struct Shared {
    pub(crate) vhost: Vhost,
    pub(crate) outboxes: Outboxes,
}

impl Shared {
    pub(crate) fn new(vhost: &str) -> Self {
        Shared { vhost: Vhost::new(vhost), outboxes: Outboxes::default() }
    }

    /// Does what has fallen due.
    pub(crate) fn advance(&mut self, now: u64) {
        if self.vhost.next_deadline() <= now {
            self.vhost.advance(now, &mut self.outboxes);
        }
    }
}

/// An operation: when, on what, for whom.
pub(crate) struct Operation<'a> {
    pub(crate) now: u64,
    pub(crate) shared: &'a mut Shared,
    pub(crate) by: ConnectionId,
    pub(crate) max_message_size: u64,
}
