//! The planned faults of connections.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::publish_faults::PublishFaults;
use crate::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The direction of a frame, as the broker sees it.
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
    /// The number of the first frame that is lost, counted from 1.
    pub(crate) frame: u64,
}

/// The planned faults of connections.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    /// The cuts of the next connections, one each.
    cuts: Mutex<VecDeque<Cut>>,
    refusing: Mutex<Option<Refusing>>,
    /// The delay of answers, in nanoseconds.
    delay: AtomicU64,
    pub(crate) publish_faults: Arc<PublishFaults>,
}

#[derive(Clone, Copy, Debug)]
enum Refusing {
    Until(Instant),
    Times(u64),
}

impl FaultPlan {
    /// The cut of the connection that begins now.
    pub(crate) fn next_cut(&self) -> Option<Cut> {
        self.cuts.lock().pop_front()
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.cuts.lock().push_back(cut);
    }

    /// Tells whether the connection that begins now is refused.
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
        // A time too long to add means for ever.
        let end = Instant::now().checked_add(time);
        *self.refusing.lock() = Some(end.map_or(Refusing::Times(u64::MAX), Refusing::Until));
    }

    pub(crate) fn refuse_next(&self, count: u64) {
        *self.refusing.lock() = Some(Refusing::Times(count));
    }

    /// The delay of answers.
    #[inline]
    pub(crate) fn delay(&self) -> Option<Duration> {
        let nanoseconds = self.delay.load(Relaxed);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Cancels all planned faults.
    pub(crate) fn clear(&self) {
        self.cuts.lock().clear();
        *self.refusing.lock() = None;
        self.set_delay(Duration::ZERO);
        self.publish_faults.clear();
    }
}
