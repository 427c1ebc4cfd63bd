//! The delay of what returns to a quorum queue
//! (<https://www.rabbitmq.com/docs/quorum-queues#delayed-retry>).

/// The delays of what returns to a quorum queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DelayedRetry {
    /// The kinds of returns that are delayed: failed deliveries, and others.
    failed: bool,
    returned: bool,
    /// The shortest and the longest delay, in milliseconds.
    least: u64,
    most: u64,
}

impl DelayedRetry {
    /// The delay of a type that a queue may name; `None` for one that delays nothing. The longest
    /// delay is the shortest, if it is not given.
    pub(super) fn new(kind: &str, least: u64, most: Option<u64>) -> Option<Self> {
        let (failed, returned) = match kind {
            "all" => (true, true),
            "failed" => (true, false),
            "returned" => (false, true),
            _ => return None,
        };
        Some(DelayedRetry { failed, returned, least, most: most.unwrap_or(least) })
    }

    /// Returns the time that a message waits that has now failed so often, in milliseconds;
    /// `has_failed` tells whether it did so this time. One that has never failed waits as if it had
    /// once.
    pub(crate) fn delay(self, failures: u32, has_failed: bool) -> Option<u64> {
        let is_delayed = if has_failed { self.failed } else { self.returned };
        is_delayed.then(|| self.least.saturating_mul(failures.max(1).into()).min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RabbitMQ 4.3.5 does this with 3,000 and 12,000 ms.
    #[test]
    fn a_delay_grows_with_the_failures_and_not_with_other_returns() {
        let all = DelayedRetry::new("all", 3000, Some(12_000)).unwrap();
        let delays = [1, 2, 3, 4, 5].map(|failures| all.delay(failures, true).unwrap());
        assert_eq!(delays, [3000, 6000, 9000, 12_000, 12_000]);
        assert_eq!((all.delay(0, false), all.delay(2, false)), (Some(3000), Some(6000)));
    }

    #[test]
    fn a_type_delays_what_it_names() {
        let delays = |kind| {
            let retry = DelayedRetry::new(kind, 5, None)?;
            Some((retry.delay(1, true), retry.delay(1, false)))
        };
        assert_eq!(delays("failed"), Some((Some(5), None)));
        assert_eq!(delays("returned"), Some((None, Some(5))));
        assert_eq!(delays("disabled"), None);
    }
}
