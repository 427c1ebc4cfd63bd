//! Distributions of latencies.

use std::{io, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::{error::Error, load::clock::nanoseconds};

/// The longest latency; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How often a worker adds what it has recorded to what all share, in nanoseconds.
const SHARED_EVERY: u64 = 100_000_000;

/// The records of all workers.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Recorded>>);

#[derive(Debug)]
struct Recorded {
    total: Histogram<u64>,
    /// Since [`Shared::take_interval`] was last called.
    interval: Histogram<u64>,
}

/// What one worker records. It is added to the shared distribution now and then, and on drop.
#[derive(Debug)]
pub(crate) struct Recorder {
    own: Histogram<u64>,
    shared: Shared,
    shared_at: u64,
}

impl Shared {
    /// # Errors
    /// [`Error::System`] without memory.
    pub(crate) fn new() -> Result<Self, Error> {
        let recorded = Recorded { total: histogram()?, interval: histogram()? };
        Ok(Shared(Arc::new(Mutex::new(recorded))))
    }

    /// Calls the function with all that was recorded so far.
    pub(crate) fn with_total<T>(&self, read: impl FnOnce(&Histogram<u64>) -> T) -> T {
        read(&self.0.lock().total)
    }

    /// Calls the function with what was recorded since the last call.
    pub(crate) fn take_interval<T>(&self, read: impl FnOnce(&Histogram<u64>) -> T) -> T {
        let mut recorded = self.0.lock();
        let taken = read(&recorded.interval);
        recorded.interval.reset();
        taken
    }
}

impl Recorder {
    /// # Errors
    /// As [`Shared::new`].
    pub(crate) fn new(shared: &Shared) -> Result<Self, Error> {
        Ok(Recorder { own: histogram()?, shared: shared.clone(), shared_at: 0 })
    }

    /// Records the time from one moment to another. A clock of another machine may be ahead: that
    /// counts as no time.
    #[inline]
    pub(crate) fn record(&mut self, from: u64, now: u64) {
        self.own.saturating_record(now.saturating_sub(from));
        if now.wrapping_sub(self.shared_at) >= SHARED_EVERY {
            self.shared_at = now;
            self.share();
        }
    }

    fn share(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let mut recorded = self.shared.0.lock();
        // All have the same bounds.
        let _ = recorded.total.add(&self.own);
        let _ = recorded.interval.add(&self.own);
        self.own.reset();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.share();
    }
}

/// Latencies in nanoseconds, to three digits.
fn histogram() -> Result<Histogram<u64>, Error> {
    let made = Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3);
    made.map_err(|error| Error::System { operation: "keep latencies", source: io::Error::other(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_record_is_in_the_total_and_once_in_an_interval() {
        let shared = Shared::new().unwrap();
        let (mut one, mut two) = (Recorder::new(&shared).unwrap(), Recorder::new(&shared).unwrap());
        one.record(5, 1005);
        one.record(SHARED_EVERY, SHARED_EVERY + 3000);
        two.record(9, 8);
        two.record(0, u64::MAX);
        drop(two);
        assert_eq!(shared.take_interval(Histogram::len), 4);
        assert_eq!(shared.take_interval(Histogram::len), 0);
        drop(one);
        let (least, most) = shared.with_total(|total| (total.min(), total.max()));
        assert_eq!(least, 0);
        assert!(most >= nanoseconds(LONGEST) && most < nanoseconds(LONGEST) * 2, "{most}");
    }
}
