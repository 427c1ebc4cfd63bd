//! What a client can tell of its calls, and a server of its requests.

use std::sync::atomic::{AtomicU64, Ordering};

/// The calls of a transport at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls that wait for their reply.
    pub in_flight: usize,
    /// Replies that came when nobody waited for them any more, since the transport was opened: to
    /// calls that were dropped or whose time was up, or a second time.
    pub late_replies: u64,
}

/// What became of the requests of a server since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// Methods that ran, or are not there: whatever was answered, or would have been.
    pub answered: u64,
    /// Of these, the ones that failed and were not expected to.
    pub failed: u64,
    /// Requests that had run already, and were not run again.
    pub repeated: u64,
    /// Messages that are no requests. They were rejected: to their queue's dead letter exchange,
    /// where a policy gives it one.
    pub unreadable: u64,
    /// Replies that were given up, for their client had vanished.
    pub vanished: u64,
}

/// Where a server counts.
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

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
