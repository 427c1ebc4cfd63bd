//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double from attempt to attempt up to a longest one. Each is drawn at random between
/// zero and that length ("full jitter"), so that not all clients reconnect at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: bool,
}

impl Default for Backoff {
    /// Returns pauses of up to 200 ms at first and up to 30 s in the end.
    fn default() -> Self {
        Backoff::new(Duration::from_millis(200), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Makes pauses of up to `first` before the first attempt, and of up to `longest` in the end.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, jitter: true }
    }

    /// Sets whether pauses are drawn at random; if not, each has its full length. Default: they
    /// are.
    #[must_use]
    pub const fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the longest possible pause.
    pub(crate) fn longest(&self) -> Duration {
        self.longest.max(self.first)
    }

    /// Returns the pause before an attempt, counted from 1.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        let upto = doubled.min(self.longest);
        if self.jitter { upto.mul_f64(fastrand::f64()) } else { upto }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_only_shortens_them() {
        let exact = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).jitter(false);
        let pauses: Vec<_> = (1..=6).map(|attempt| exact.pause(attempt).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(exact.pause(u32::MAX), Duration::from_secs(1));
        let jittered = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert!((1..100).all(|attempt| jittered.pause(attempt) <= exact.pause(attempt)));
    }
}
