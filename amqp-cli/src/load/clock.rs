//! The clock of a measurement.

use std::time::{Duration, Instant, SystemTime};

/// A clock that never goes back. It counts from the epoch, so that publishers and consumers may be
/// different processes, on machines whose clocks agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The time of the origin, in nanoseconds since 1970.
    epoch: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { origin: Instant::now(), epoch: nanoseconds(since) }
    }

    /// The time, in nanoseconds since 1970.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.epoch + nanoseconds(self.origin.elapsed())
    }
}

/// A duration in nanoseconds; at most what 64 bits hold, which is 584 years.
#[inline]
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}
