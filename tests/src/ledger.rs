//! The ledger: the fate of every message of a test.

#![allow(clippy::expect_used, reason = "a message that nobody published fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, PoisonError},
};

/// Keeps account of messages, each by a number in its body.
///
/// Publishers and consumers report events to it, and [`check`](Self::check) tells at the end
/// whether they are consistent.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<BTreeMap<u64, Entry>>,
}

/// The outcome of a publish, as the publisher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has confirmed it.
    Confirmed,
    /// It was returned for lack of a route.
    Returned,
    /// The broker has refused it. Some of its queues may have it nevertheless.
    Nacked,
    /// It is unknown whether the broker has it.
    Lost,
    /// The publisher did not wait for the answer, or its channel was closed before there was one.
    Forgotten,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Whether it is published again after a loss, so that it may be delivered twice.
    republish: bool,
    outcome: Option<Outcome>,
    /// Deliveries without the redelivered flag, and with it.
    fresh: u32,
    flagged: u32,
    /// Deliveries that the consumer has acknowledged without an error.
    acked: u32,
    /// Whether a delivery could not be acknowledged and the message has not been delivered since.
    owed: bool,
}

/// One delivery of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    number: u64,
    nth: u32,
}

impl Receipt {
    /// The message's number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.number
    }

    /// Whether it is the first delivery of its message.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.nth == 1
    }
}

/// The account of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many messages were published.
    pub published: usize,
    /// How many of these the broker confirmed.
    pub confirmed: usize,
    /// How many were returned.
    pub returned: usize,
    /// How many were refused.
    pub nacked: usize,
    /// How many were reported lost: the broker may or may not have them.
    pub lost: usize,
    /// How many were reported lost and delivered nevertheless.
    pub lost_and_delivered: usize,
    /// How many messages were delivered at least once.
    pub delivered: usize,
    /// How many were confirmed and never delivered.
    pub undelivered: usize,
    /// Further deliveries of a message, flagged as redelivered.
    pub redelivered: usize,
    /// Further deliveries of a message without the flag: those of a message that was published
    /// again.
    pub published_twice: usize,
}

impl Ledger {
    /// Creates an empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message that is about to be published; returns its number. `republish` says that its
    /// publisher publishes unconfirmed messages again.
    pub fn publish(&self, republish: bool) -> u64 {
        self.with(|entries| {
            let number = entries.keys().next_back().map_or(1, |last| last + 1);
            let entry = Entry { republish, outcome: None, fresh: 0, flagged: 0, acked: 0, owed: false };
            entries.insert(number, entry);
            number
        })
    }

    /// How many messages there are.
    #[must_use]
    pub fn published(&self) -> usize {
        self.with(|entries| entries.len())
    }

    /// Notes the outcome of a publish.
    ///
    /// # Panics
    /// When it is known already, or the number is unknown.
    pub fn settle(&self, number: u64, outcome: Outcome) {
        let before = self.entry(number, |entry| entry.outcome.replace(outcome));
        assert!(before.is_none(), "message {number} was {before:?} before it was {outcome:?}");
    }

    /// Notes that its publisher published it again, so that it may be delivered twice.
    ///
    /// # Panics
    /// When the number is unknown.
    pub fn published_again(&self, number: u64) {
        self.entry(number, |entry| entry.republish = true);
    }

    /// Notes a delivery.
    ///
    /// # Panics
    /// When its number is unknown, or when an earlier delivery could not be acknowledged and this
    /// one lacks the redelivered flag.
    pub fn deliver(&self, number: u64, redelivered: bool) -> Receipt {
        let (was_owed, nth) = self.entry(number, |entry| {
            *(if redelivered { &mut entry.flagged } else { &mut entry.fresh }) += 1;
            // A message that was published again may arrive before a requeued one, and without its
            // flag.
            (std::mem::take(&mut entry.owed) && !entry.republish, entry.delivered())
        });
        assert!(redelivered || !was_owed, "message {number} came again without the flag");
        Receipt { number, nth }
    }

    /// Notes an acknowledgement; `acked` is `false` when it failed, so that the message has to be
    /// delivered again, unless it has been already.
    ///
    /// # Panics
    /// When the message is unknown.
    pub fn ack(&self, receipt: Receipt, acked: bool) {
        self.entry(receipt.number, |entry| {
            entry.acked += u32::from(acked);
            entry.owed |= !acked && entry.delivered() == receipt.nth;
        });
    }

    /// Tells whether every confirmed message was delivered and acknowledged, and no other delivery
    /// is certain to come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.with(|entries| entries.values().all(Entry::is_complete))
    }

    /// The numbers of at most ten confirmed messages that were not delivered and acknowledged so
    /// far.
    #[must_use]
    pub fn missing(&self) -> Vec<u64> {
        self.with(|entries| {
            let missing = entries.iter().filter(|(_, entry)| !entry.is_complete());
            missing.map(|(number, _)| *number).take(10).collect()
        })
    }

    /// The numbers of the confirmed messages.
    #[must_use]
    pub fn confirmed(&self) -> BTreeSet<u64> {
        self.with(|entries| {
            let confirmed = entries.iter().filter(|(_, entry)| entry.outcome == Some(Outcome::Confirmed));
            confirmed.map(|(number, _)| *number).collect()
        })
    }

    /// The numbers of the confirmed messages that were never delivered.
    #[must_use]
    pub fn undelivered(&self) -> Vec<u64> {
        self.with(|entries| {
            let undelivered = entries.iter().filter(|(_, entry)| entry.is_undelivered());
            undelivered.map(|(number, _)| *number).collect()
        })
    }

    /// Checks the account when nothing is in progress any more.
    ///
    /// # Panics
    /// With every inconsistent message: one that was published and has no known outcome; confirmed
    /// and never delivered; returned and delivered; delivered and not acknowledged; delivered twice
    /// without the flag though published once; lost though it was to be published again.
    pub fn check(&self) -> Summary {
        let summary = self.summary();
        let mut wrong = Vec::new();
        self.with(|entries| {
            for (number, entry) in entries {
                if let Some(what) = entry.wrong() {
                    wrong.push(format!("message {number}: {what}: {entry:?}"));
                }
            }
        });
        let count = wrong.len();
        wrong.truncate(20);
        assert!(wrong.is_empty(), "{count} messages are not in order:\n{}\nof {summary}", wrong.join("\n"));
        summary
    }

    /// The account as it is, for tests that count what [`check`](Self::check) refuses.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.with(|entries| entries.values().for_each(|entry| entry.add_to(&mut summary)));
        summary
    }

    fn entry<T>(&self, number: u64, work: impl FnOnce(&mut Entry) -> T) -> T {
        self.with(|entries| entries.get_mut(&number).map(work)).expect("a message that was published here")
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<u64, Entry>) -> T) -> T {
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    fn delivered(&self) -> u32 {
        self.fresh + self.flagged
    }

    fn is_undelivered(&self) -> bool {
        self.outcome == Some(Outcome::Confirmed) && self.delivered() == 0
    }

    fn is_complete(&self) -> bool {
        match self.outcome {
            None => false,
            Some(Outcome::Confirmed) => self.acked > 0 && !self.owed,
            Some(_) => !self.owed,
        }
    }

    fn wrong(&self) -> Option<&'static str> {
        let delivered = self.delivered();
        match self.outcome {
            None => Some("nobody knows what became of it"),
            Some(Outcome::Confirmed) if delivered == 0 => Some("confirmed and never delivered"),
            Some(Outcome::Returned) if delivered > 0 => Some("returned and delivered"),
            Some(Outcome::Lost) if self.republish => Some("lost, and was to be published again"),
            _ if delivered > 0 && self.acked == 0 => Some("delivered and never acked"),
            _ if self.fresh > 1 && !self.republish => Some("delivered twice without the flag"),
            _ if self.owed => Some("not acked, and not delivered again"),
            _ => None,
        }
    }

    fn add_to(&self, summary: &mut Summary) {
        let delivered = self.delivered() as usize;
        summary.published += 1;
        match self.outcome {
            Some(Outcome::Confirmed) => summary.confirmed += 1,
            Some(Outcome::Returned) => summary.returned += 1,
            Some(Outcome::Nacked) => summary.nacked += 1,
            Some(Outcome::Lost) => {
                summary.lost += 1;
                summary.lost_and_delivered += usize::from(delivered > 0);
            }
            Some(Outcome::Forgotten) | None => {}
        }
        summary.delivered += usize::from(delivered > 0);
        summary.undelivered += usize::from(self.is_undelivered());
        let twice = (self.fresh as usize).saturating_sub(1);
        summary.published_twice += twice;
        summary.redelivered += delivered.saturating_sub(1) - twice.min(delivered.saturating_sub(1));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { published, confirmed, returned, nacked, lost, lost_and_delivered, .. } = self;
        let Summary { delivered, undelivered, redelivered, published_twice, .. } = self;
        write!(
            f,
            "{published} published, {confirmed} confirmed, {returned} returned, {nacked} nacked, {lost} lost ({lost_and_delivered} of them \
             delivered); {delivered} delivered, {undelivered} confirmed and not delivered, {redelivered} more times flagged, {published_twice} more times published again"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells whether a ledger with this history is consistent.
    fn adds_up(history: impl FnOnce(&Ledger) + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(|| {
            let ledger = Ledger::new();
            history(&ledger);
            ledger.check();
        })
        .is_ok()
    }

    #[test]
    fn what_is_in_order_adds_up() {
        let ledger = Ledger::new();
        let [confirmed, lost, twice] = [false, false, true].map(|republish| ledger.publish(republish));
        ledger.settle(confirmed, Outcome::Confirmed);
        ledger.settle(lost, Outcome::Lost);
        assert!(!ledger.is_complete());
        ledger.settle(twice, Outcome::Confirmed);
        assert_eq!(ledger.missing(), [confirmed, twice]);
        let first = ledger.deliver(confirmed, false);
        let second = ledger.deliver(confirmed, true);
        ledger.ack(second, true);
        ledger.ack(first, false);
        for _ in 0..2 {
            ledger.ack(ledger.deliver(twice, false), true);
        }
        assert!(ledger.is_complete());
        let summary = ledger.check();
        let expected = Summary {
            published: 3,
            confirmed: 2,
            lost: 1,
            delivered: 2,
            redelivered: 1,
            published_twice: 1,
            ..Default::default()
        };
        assert_eq!(summary, expected, "{summary}");
    }

    #[test]
    fn what_is_not_in_order_does_not() {
        assert!(adds_up(|ledger| ledger.settle(ledger.publish(false), Outcome::Lost)));
        assert!(!adds_up(|ledger| _ = ledger.publish(false)));
        assert!(!adds_up(|ledger| ledger.settle(ledger.publish(false), Outcome::Confirmed)));
        let ledger = Ledger::new();
        ledger.settle(ledger.publish(false), Outcome::Confirmed);
        assert_eq!((ledger.summary().undelivered, ledger.undelivered()), (1, vec![1]));
        assert_eq!(ledger.confirmed(), BTreeSet::from([1]));
        assert!(!adds_up(|ledger| ledger.settle(ledger.publish(true), Outcome::Lost)));
        assert!(!adds_up(|ledger| {
            let number = ledger.publish(false);
            ledger.settle(number, Outcome::Lost);
            ledger.settle(number, Outcome::Confirmed);
        }));
        let delivered = |ledger: &Ledger, times: &[(bool, bool)]| {
            let number = ledger.publish(false);
            ledger.settle(number, Outcome::Confirmed);
            for (redelivered, acked) in times {
                ledger.ack(ledger.deliver(number, *redelivered), *acked);
            }
        };
        assert!(adds_up(|ledger| delivered(ledger, &[(false, false), (true, true)])));
        assert!(!adds_up(|ledger| delivered(ledger, &[(false, true), (false, true)])));
        assert!(adds_up(|ledger| {
            ledger.published_again(ledger.publish(false));
            ledger.settle(1, Outcome::Confirmed);
            (0..2).for_each(|_| ledger.ack(ledger.deliver(1, false), true));
        }));
        assert!(!adds_up(|ledger| delivered(ledger, &[(false, false), (false, true)])));
        assert!(!adds_up(|ledger| delivered(ledger, &[(false, true), (true, false)])));
        assert!(!adds_up(|ledger| _ = ledger.deliver(7, false)));
    }
}
