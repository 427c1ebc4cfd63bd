//! What publishers, consumers and whoever watches them share.

use std::{
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    error::Error,
    load::{clock::Clock, distribution::Shared, plan::Plan},
};

/// The stages of a load, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Connections are opened.
    Preparing,
    /// Messages flow.
    Flowing,
    /// Publishers stop; consumers take what is left.
    Draining,
    /// All stop.
    Ended,
}

/// What is shared. Each worker has counters of its own, which only it writes.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) plan: Plan,
    pub(crate) queues: Vec<String>,
    pub(crate) clock: Clock,
    pub(crate) stage: watch::Sender<Stage>,
    /// What was published or due before this time is warm-up.
    pub(crate) counted_from: AtomicU64,
    /// From publish, or from when it was due, to delivery.
    pub(crate) latencies: Shared,
    /// From publish, or from when it was due, to confirm.
    pub(crate) confirms: Shared,
    /// The number of connections that are ready.
    pub(crate) ready: watch::Sender<usize>,
    /// The number of publishers that have not ended.
    pub(crate) publishing: watch::Sender<usize>,
    pub(crate) workers: Vec<Counters>,
    pub(crate) failure: Mutex<Option<Error>>,
    /// The broker's name and version.
    pub(crate) broker: Mutex<String>,
}

/// What a worker has done. It fills a line of the cache, so that workers do not wait for each
/// other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) published_bytes: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    /// Nacked or returned.
    pub(crate) refused: AtomicU64,
    pub(crate) consumed: AtomicU64,
    pub(crate) consumed_bytes: AtomicU64,
    pub(crate) redelivered: AtomicU64,
}

/// The sum of all counters at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) published_bytes: u64,
    pub(crate) confirmed: u64,
    pub(crate) refused: u64,
    pub(crate) consumed: u64,
    pub(crate) consumed_bytes: u64,
    pub(crate) redelivered: u64,
}

/// Adds to a counter that only the caller writes, which needs no locked instruction.
#[inline]
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Load {
    /// # Errors
    /// As [`Shared::new`].
    pub(crate) fn new(plan: Plan, queues: Vec<String>) -> Result<Self, Error> {
        let workers: usize =
            plan.parts().iter().map(|part| part.publishers.len() + part.consumers.len()).sum();
        Ok(Load {
            workers: (0..workers).map(|_| Counters::default()).collect(),
            queues,
            clock: Clock::new(),
            stage: watch::Sender::new(Stage::Preparing),
            counted_from: AtomicU64::new(u64::MAX),
            latencies: Shared::new()?,
            confirms: Shared::new()?,
            ready: watch::Sender::new(0),
            publishing: watch::Sender::new(plan.publishers),
            failure: Mutex::default(),
            broker: Mutex::default(),
            plan,
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for worker in &self.workers {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            counts.published += read(&worker.published);
            counts.published_bytes += read(&worker.published_bytes);
            counts.confirmed += read(&worker.confirmed);
            counts.refused += read(&worker.refused);
            counts.consumed += read(&worker.consumed);
            counts.consumed_bytes += read(&worker.consumed_bytes);
            counts.redelivered += read(&worker.redelivered);
        }
        counts
    }

    /// Tells whether messages count, because the warm-up is over.
    #[inline]
    pub(crate) fn is_counting(&self) -> bool {
        self.counted_from.load(Ordering::Relaxed) != u64::MAX
    }

    /// Keeps the first failure, and ends the load.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        self.stage.send_replace(Stage::Ended);
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        Counts {
            published: self.published - earlier.published,
            published_bytes: self.published_bytes - earlier.published_bytes,
            confirmed: self.confirmed - earlier.confirmed,
            refused: self.refused - earlier.refused,
            consumed: self.consumed - earlier.consumed,
            consumed_bytes: self.consumed_bytes - earlier.consumed_bytes,
            redelivered: self.redelivered - earlier.redelivered,
        }
    }
}
