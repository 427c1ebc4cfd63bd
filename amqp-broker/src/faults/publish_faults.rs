//! The planned faults of publishes and confirms, for tests of clients.

use crate::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// A fault that happens instead of a publish, which gets into no queue; see
/// [`Faults::at_publish`](crate::Faults::at_publish). Earlier publishes are executed and answered;
/// nothing that the client sent later on a connection or channel that ends is processed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishFault {
    /// The connection is dropped, without a close.
    DropConnection,
    /// The connection is closed with this code and text, which is cut to 255 bytes.
    CloseConnection {
        /// The reply code, such as 320.
        code: u16,
        /// The reply text, such as `CONNECTION_FORCED - maintenance`.
        text: String,
    },
    /// The channel is closed with this code and text, which is cut to 255 bytes.
    CloseChannel {
        /// The reply code, such as 406.
        code: u16,
        /// The reply text, such as `PRECONDITION_FAILED - because`.
        text: String,
    },
    /// The publish is nacked. Outside confirm mode it is only lost.
    Nack,
    /// The publish is returned with 312 NO_ROUTE, and confirmed after that. One that is not
    /// mandatory is only lost.
    Return,
}

/// The planned faults of publishes and confirms. They are set while connections use them.
#[derive(Debug, Default)]
pub(crate) struct PublishFaults {
    /// Whether there is any fault: publishes usually check only this.
    any: AtomicBool,
    nacks: AtomicU64,
    returns: AtomicU64,
    swallowed: AtomicU64,
    /// The planned faults in the order of the calls.
    planned: Mutex<Vec<Planned>>,
}

/// The planned fault of one publish.
#[derive(Debug)]
struct Planned {
    /// The client's name for the connection; `None` means any connection.
    connection: Option<String>,
    /// How many publishes are left, including the one with the fault.
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

    /// Plans a fault for the `n`-th publish from now on, on connections of this name or on any.
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

    /// The fault of this publish on a connection of this name. If two are planned for it, the
    /// second moves to the next publish.
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

    /// Tells whether this publish is to be nacked.
    pub(crate) fn nacks_this(&self) -> bool {
        take(&self.nacks, 1) == 1
    }

    /// Tells whether this publish is to be returned.
    pub(crate) fn returns_this(&self) -> bool {
        take(&self.returns, 1) == 1
    }

    /// How many of these confirms are to be swallowed.
    pub(crate) fn swallows_of(&self, confirms: u64) -> u64 {
        take(&self.swallowed, confirms)
    }
}

/// Takes at most so many off a count; the highest number stands for no end.
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
