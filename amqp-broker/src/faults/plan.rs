//! What is to go wrong with connections, as they look it up.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::publish_faults::PublishFaults;

/// The way of a frame, as the broker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the broker.
    In,
    /// From the broker to the client.
    Out,
}

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) direction: Direction,
    /// The frame that does not pass any more, counted from 1.
    pub(crate) frame: u64,
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    /// For the next connections, one each.
    cuts: Mutex<VecDeque<Cut>>,
    refusing: Mutex<Option<Refusing>>,
    /// How long answers are held back, in nanoseconds.
    delay: AtomicU64,
    pub(crate) publish_faults: Arc<PublishFaults>,
}

#[derive(Clone, Copy, Debug)]
enum Refusing {
    Until(Instant),
    Times(u64),
}

impl FaultPlan {
    /// Where the connection that comes now is to be cut.
    pub(crate) fn next_cut(&self) -> Option<Cut> {
        self.cuts.lock().pop_front()
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.cuts.lock().push_back(cut);
    }

    /// Whether the connection that comes now is refused.
    pub(crate) fn refuses(&self) -> bool {
        match &mut *self.refusing.lock() {
            None | Some(Refusing::Times(0)) => false,
            Some(Refusing::Until(end)) => Instant::now() < *end,
            Some(Refusing::Times(u64::MAX)) => true,
            Some(Refusing::Times(left)) => {
                *left -= 1;
                true
            }
        }
    }

    pub(crate) fn refuse_for(&self, time: Duration) {
        // A time that cannot be counted to is for ever.
        let end = Instant::now().checked_add(time);
        *self.refusing.lock() = Some(end.map_or(Refusing::Times(u64::MAX), Refusing::Until));
    }

    pub(crate) fn refuse_next(&self, count: u64) {
        *self.refusing.lock() = Some(Refusing::Times(count));
    }

    /// How long answers are held back.
    #[inline]
    pub(crate) fn delay(&self) -> Option<Duration> {
        let nanoseconds = self.delay.load(Relaxed);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn clear(&self) {
        self.cuts.lock().clear();
        *self.refusing.lock() = None;
        self.set_delay(Duration::ZERO);
        self.publish_faults.clear();
    }
}
