//! The beginning of a message's file name, by which kombu orders the messages of a queue.

use uuid::{Builder, Uuid};

/// Gives file names in the order of the calls.
#[derive(Debug)]
pub(super) struct FileNames {
    /// The next id: counting up keeps the order within a millisecond.
    next: u128,
}

impl FileNames {
    pub(super) fn new() -> Self {
        FileNames { next: Uuid::new_v4().as_u128() >> 1 }
    }

    /// The name of a new message of a queue: milliseconds since the machine started, as Python's
    /// `time.monotonic` counts them, and a UUID. They are rounded as kombu rounds them, so that a
    /// message of ours does not come before one that kombu has just written.
    pub(super) fn next(&mut self, queue: &str) -> String {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let milliseconds = rounded(now.tv_sec, now.tv_nsec);
        let id = Builder::from_random_bytes(self.next.to_be_bytes()).into_uuid();
        // The last bits are not touched by the version, so that counting shows in the name.
        self.next = self.next.wrapping_add(1);
        format!("{milliseconds}_{id}.{queue}.msg")
    }
}

/// The nearest millisecond.
fn rounded(seconds: i64, nanoseconds: i64) -> i64 {
    seconds * 1000 + (nanoseconds + 500_000) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_the_nearest() {
        let rounded = |nanoseconds| super::rounded(2, nanoseconds);
        assert_eq!([0, 499_999, 500_001, 1_400_000].map(rounded), [2000, 2000, 2001, 2001]);
        assert_eq!(rounded(999_600_000), 3000);
    }

    #[test]
    fn names_are_in_the_order_of_their_creation() {
        let mut names = FileNames::new();
        let made: Vec<_> = (0..1000).map(|_| names.next("q")).collect();
        assert!(made.is_sorted());
        assert!(made[0].ends_with(".q.msg"));
    }
}
