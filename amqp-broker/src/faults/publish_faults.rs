//! What is to go wrong with publishes and confirms, for tests of clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// What is to happen in place of a publish, which gets into no queue: see
/// [`Faults::at_publish`](crate::Faults::at_publish). Publishes before it are done and answered,
/// whatever comes behind it on what ends is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishFault {
    /// Its connection ends without a word.
    DropConnection,
    /// Its connection is closed with this code and text, cut to 255 bytes.
    CloseConnection {
        /// Such as 320.
        code: u16,
        /// Such as `CONNECTION_FORCED - maintenance`.
        text: String,
    },
    /// Its channel is closed with this code and text, cut to 255 bytes.
    CloseChannel {
        /// Such as 406.
        code: u16,
        /// Such as `PRECONDITION_FAILED - because`.
        text: String,
    },
    /// It is nacked. On a channel that is not in confirm mode it is merely lost.
    Nack,
    /// It comes back with 312 NO_ROUTE, and is confirmed after that. One that is not mandatory is
    /// merely lost.
    Return,
}

/// What is to go wrong with publishes and confirms. It is set from outside while connections look
/// at it.
#[derive(Debug, Default)]
pub(crate) struct PublishFaults {
    /// Whether there is anything: all that the usual publish looks at.
    any: AtomicBool,
    nacks: AtomicU64,
    returns: AtomicU64,
    swallowed: AtomicU64,
    /// In the order they were said.
    planned: Mutex<Vec<Planned>>,
}

/// What is to happen to one publish.
#[derive(Debug)]
struct Planned {
    /// What its client calls the connection; any when this is none.
    connection: Option<String>,
    /// Which publish it is, counted from 1.
    left: u64,
    fault: PublishFault,
}

impl PublishFaults {
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Relaxed)
    }

    pub(crate) fn nack(&self, count: u64) {
        self.nacks.store(count, Relaxed);
        self.any.store(true, Relaxed);
    }

    pub(crate) fn return_messages(&self, count: u64) {
        self.returns.store(count, Relaxed);
        self.any.store(true, Relaxed);
    }

    pub(crate) fn swallow_confirms(&self, count: u64) {
        self.swallowed.store(count, Relaxed);
        self.any.store(true, Relaxed);
    }

    /// The `n`-th publish from now on, of connections of this name or of any.
    pub(crate) fn plan(&self, connection: Option<String>, n: u64, fault: PublishFault) {
        self.planned.lock().push(Planned { connection, left: n.max(1), fault });
        self.any.store(true, Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.planned.lock().clear();
        for count in [&self.nacks, &self.returns, &self.swallowed] {
            count.store(0, Relaxed);
        }
        self.any.store(false, Relaxed);
    }

    /// What is to happen to this publish of a connection with that name. Where two are for the same
    /// one, the second is for the next.
    pub(crate) fn planned_for_this(&self, connection: Option<&str>) -> Option<PublishFault> {
        let mut planned = self.planned.lock();
        let is_for =
            |planned: &Planned| planned.connection.is_none() || planned.connection.as_deref() == connection;
        for planned in planned.iter_mut().filter(|planned| is_for(planned)) {
            planned.left = planned.left.saturating_sub(1);
        }
        let due = planned.iter().position(|planned| is_for(planned) && planned.left == 0)?;
        Some(planned.remove(due).fault)
    }

    /// Whether this publish is to be nacked.
    pub(crate) fn nacks_this(&self) -> bool {
        take(&self.nacks, 1) == 1
    }

    /// Whether this publish is to be returned.
    pub(crate) fn returns_this(&self) -> bool {
        take(&self.returns, 1) == 1
    }

    /// How many of so many confirms are to be swallowed.
    pub(crate) fn swallows_of(&self, confirms: u64) -> u64 {
        take(&self.swallowed, confirms)
    }
}

/// Takes at most so many off a count that has no end when it is the highest number.
fn take(count: &AtomicU64, most: u64) -> u64 {
    let less = |left: u64| Some(if left == u64::MAX { left } else { left.saturating_sub(most) });
    let (Ok(left) | Err(left)) = count.fetch_update(Relaxed, Relaxed, less);
    left.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_run_out_but_for_the_endless_one() {
        let publish_faults = PublishFaults::default();
        assert!(!publish_faults.is_any() && !publish_faults.nacks_this());
        publish_faults.nack(1);
        assert!(publish_faults.is_any() && publish_faults.nacks_this() && !publish_faults.nacks_this());
        publish_faults.swallow_confirms(3);
        assert_eq!([publish_faults.swallows_of(2), publish_faults.swallows_of(2)], [2, 1]);
        publish_faults.swallow_confirms(u64::MAX);
        assert_eq!([publish_faults.swallows_of(2), publish_faults.swallows_of(9)], [2, 9]);
        publish_faults.clear();
        assert!(!publish_faults.is_any() && publish_faults.swallows_of(1) == 0);
    }
}
