//! The contents of a sample.

use crate::core::counters::MessageCounters;

/// The number of values of a sample.
pub(crate) const VALUES: usize = 13;

/// The names of the values in `message_stats`, except for the last two, which are how many messages
/// are ready and unacknowledged.
pub(crate) const NAMES: [&str; VALUES - 2] = [
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
];

/// The place of each value that is asked for.
pub(crate) const READY: usize = VALUES - 2;
pub(crate) const UNACKED: usize = VALUES - 1;

/// The values of a queue, a channel, a virtual host or the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) [u64; VALUES]);

impl Counts {
    pub(crate) fn of(counters: &MessageCounters, ready: usize, unacked: usize) -> Self {
        Counts([
            counters.published,
            counters.confirmed,
            counters.returned,
            counters.dropped,
            counters.delivered,
            counters.delivered_no_ack,
            counters.got,
            counters.got_no_ack,
            counters.got_nothing,
            counters.redelivered,
            counters.acked,
            ready as u64,
            unacked as u64,
        ])
    }

    pub(crate) fn at(&self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own += other);
    }

    /// The change of each value in a second.
    pub(crate) fn rates_since(&self, before: &Counts, seconds: f64) -> Rates {
        let mut rates = Rates::default();
        let changes = self.0.iter().zip(before.0);
        for (rate, (now, before)) in rates.0.iter_mut().zip(changes) {
            *rate = (*now as f64 - before as f64) / seconds.max(0.001);
        }
        rates
    }

    /// Tells whether anything has happened: then there are statistics.
    pub(crate) fn has_stats(&self) -> bool {
        self.0.iter().take(READY).any(|count| *count > 0)
    }
}

/// The changes of values in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates(pub(crate) [f64; VALUES]);

impl Rates {
    pub(crate) fn at(&self, place: usize) -> f64 {
        self.0.get(place).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_change_in_a_second() {
        let counters = MessageCounters { published: 30, acked: 10, ..Default::default() };
        let (before, now) = (Counts::default(), Counts::of(&counters, 5, 0));
        let rates = now.rates_since(&before, 5.0);
        assert_eq!((rates.at(0), rates.at(10), rates.at(READY)), (6.0, 2.0, 1.0));
        assert_eq!(before.rates_since(&now, 5.0).at(READY), -1.0);
        assert!(now.has_stats() && !before.has_stats());
    }
}
