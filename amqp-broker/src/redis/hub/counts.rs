//! The counts that all hubs of a backend share.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Counts since the backend was made.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    undecodable: AtomicU64,
    settled_too_late: AtomicU64,
}

impl Counts {
    /// Items that could not be read.
    pub(crate) fn add_undecodable(&self, items: usize) {
        self.undecodable.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// Messages that others had returned to their queues when they were settled.
    pub(crate) fn add_settled_too_late(&self, messages: usize) {
        self.settled_too_late.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable.load(Ordering::Relaxed)
    }

    pub(crate) fn settled_too_late(&self) -> u64 {
        self.settled_too_late.load(Ordering::Relaxed)
    }
}
