//! Limits on log lines that peers cause.

use std::time::{Duration, Instant};

use crate::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The least time between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(1);

/// The kinds of lines that whoever may publish can cause.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) malformed: LogLimit,
    pub(crate) failed: LogLimit,
    pub(crate) foreign_exchange: LogLimit,
    pub(crate) without_ticket: LogLimit,
}

/// Lets one line a second through.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    last: Mutex<Option<Instant>>,
    left_out: AtomicU64,
}

impl LogLimit {
    /// Returns how many lines were left out before the next one, or `None` if that is left out too.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        if last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.left_out.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_let_through_and_the_others_are_counted() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        assert_eq!(limit.next_at(start), Some(0));
        assert_eq!(limit.next_at(start + PAUSE / 2), None);
        assert_eq!(limit.next_at(start + PAUSE / 2), None);
        assert_eq!(limit.next_at(start + PAUSE), Some(2));
        assert_eq!(limit.next_at(start + PAUSE * 3), Some(0));
    }
}
