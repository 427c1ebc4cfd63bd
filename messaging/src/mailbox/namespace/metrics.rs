//! What a mailbox has counted.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of a mailbox since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxMetrics {
    /// Commands that nodes handled, whatever the outcome.
    pub commands_handled: u64,
    /// Commands for other nodes, and those that had expired.
    pub commands_ignored: u64,
    /// Commands that could not be read.
    pub commands_malformed: u64,
    /// Replies that reached a call.
    pub replies_received: u64,
    /// Replies that arrived after their call had ended, or that no call is known for.
    pub replies_late: u64,
    /// Replies without a ticket, on a reply queue that calls share.
    pub replies_without_ticket: u64,
    /// Replies that were dropped because a call did not read them.
    pub replies_dropped: u64,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counts while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands_handled: Counter,
    pub(crate) commands_ignored: Counter,
    pub(crate) commands_malformed: Counter,
    pub(crate) replies_received: Counter,
    pub(crate) replies_late: Counter,
    pub(crate) replies_without_ticket: Counter,
    pub(crate) replies_dropped: Counter,
}

impl Counters {
    pub(crate) fn read(&self) -> MailboxMetrics {
        MailboxMetrics {
            commands_handled: self.commands_handled.get(),
            commands_ignored: self.commands_ignored.get(),
            commands_malformed: self.commands_malformed.get(),
            replies_received: self.replies_received.get(),
            replies_late: self.replies_late.get(),
            replies_without_ticket: self.replies_without_ticket.get(),
            replies_dropped: self.replies_dropped.get(),
        }
    }
}
