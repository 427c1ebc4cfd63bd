//! The counts of a server's requests.

use crate::sync::atomic::{AtomicU64, Ordering};

/// The requests of a server since it started, counted by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// Requests that were answered, or would have been if an answer had been requested, including
    /// those for missing methods.
    pub answered: u64,
    /// Answered requests whose method failed unexpectedly.
    pub failed: u64,
    /// Requests that had run before, and were not run again.
    pub repeated: u64,
    /// Messages that are no requests. They were rejected, and so dead-lettered if a policy gives
    /// their queue a dead-letter exchange.
    pub unreadable: u64,
    /// Replies that were given up because their client had vanished.
    pub vanished: u64,
}

/// The counters of a server.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) vanished: AtomicU64,
}

impl Counts {
    pub(crate) fn read(&self) -> ServerMetrics {
        let [answered, failed, repeated, unreadable, vanished] =
            [&self.answered, &self.failed, &self.repeated, &self.unreadable, &self.vanished]
                .map(|count| count.load(Ordering::Relaxed));
        ServerMetrics { answered, failed, repeated, unreadable, vanished }
    }
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
