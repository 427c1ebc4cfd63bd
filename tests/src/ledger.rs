//! What became of every message of a test: published, confirmed or not, delivered how often, acked.

#![allow(clippy::expect_used, reason = "a message that nobody published fails the test")]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

/// Keeps the account of messages, each by a number that it carries in its body.
///
/// Publishers and consumers tell it what happens, [`check`](Self::check) says in the end whether it
/// adds up.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<BTreeMap<u64, Entry>>,
}

/// What the publisher knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has confirmed it.
    Confirmed,
    /// It came back for want of a route.
    Returned,
    /// The broker has refused it. Some of its queues may have it all the same.
    Nacked,
    /// It is unknown whether the broker has it.
    Lost,
    /// Nobody asked, or its publisher was closed before there was an answer.
    Forgotten,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Published again after a loss, so that it may come twice.
    republish: bool,
    outcome: Option<Outcome>,
    /// Deliveries that were not flagged as redelivered, and those that were.
    fresh: u32,
    flagged: u32,
    /// Deliveries that the consumer has acked without an error.
    acked: u32,
    /// One of its deliveries could not be acked any more, and it was not delivered since.
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
    /// Messages published.
    pub published: usize,
    /// Of these, confirmed by the broker.
    pub confirmed: usize,
    /// Returned.
    pub returned: usize,
    /// Refused.
    pub nacked: usize,
    /// Told to be lost: the broker may have them or not.
    pub lost: usize,
    /// Told to be lost, and delivered all the same.
    pub lost_and_delivered: usize,
    /// Messages delivered at least once.
    pub delivered: usize,
    /// Deliveries over one a message, flagged as redelivered.
    pub redelivered: usize,
    /// Deliveries over one a message that were not flagged: those of a message published again.
    pub published_twice: usize,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A message is about to be published; its number. `republish` when its publisher publishes
    /// again what was not confirmed.
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

    /// What became of a publish.
    ///
    /// # Panics
    /// When that was told before, or the number is not one of ours.
    pub fn settle(&self, number: u64, outcome: Outcome) {
        let before = self.entry(number, |entry| entry.outcome.replace(outcome));
        assert!(before.is_none(), "message {number} was {before:?} before it was {outcome:?}");
    }

    /// A message arrived.
    ///
    /// # Panics
    /// When its number is not one of ours; when it had arrived, could not be acked, and comes again
    /// without the flag.
    pub fn deliver(&self, number: u64, redelivered: bool) -> Receipt {
        let (was_owed, nth) = self.entry(number, |entry| {
            *(if redelivered { &mut entry.flagged } else { &mut entry.fresh }) += 1;
            // What was published again may come before what was requeued, and without its flag.
            (std::mem::take(&mut entry.owed) && !entry.republish, entry.delivered())
        });
        assert!(redelivered || !was_owed, "message {number} came again without the flag");
        Receipt { number, nth }
    }

    /// A delivery was acked; `false` when it could not be, so that it has to come again, unless it
    /// has already.
    ///
    /// # Panics
    /// When the message is not one of ours.
    pub fn ack(&self, receipt: Receipt, acked: bool) {
        self.entry(receipt.number, |entry| {
            entry.acked += u32::from(acked);
            entry.owed |= !acked && entry.delivered() == receipt.nth;
        });
    }

    /// Whether every message that was confirmed was also delivered and acked, and nothing else is
    /// to come for certain.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.with(|entries| entries.values().all(Entry::is_complete))
    }

    /// The numbers of messages that were confirmed, and were not delivered and acked so far; not
    /// more than ten.
    #[must_use]
    pub fn missing(&self) -> Vec<u64> {
        self.with(|entries| {
            let missing = entries.iter().filter(|(_, entry)| !entry.is_complete());
            missing.map(|(number, _)| *number).take(10).collect()
        })
    }

    /// Whether it all adds up, when nothing is under way any more.
    ///
    /// # Panics
    /// With every message for which it does not: published and nobody knows what became of it;
    /// confirmed and never delivered; returned and delivered; delivered and not acked; delivered
    /// twice without flag though published once; lost though it was to be published again.
    pub fn check(&self) -> Summary {
        let mut summary = Summary::default();
        let mut wrong = Vec::new();
        self.with(|entries| {
            for (number, entry) in entries {
                if let Some(what) = entry.wrong() {
                    wrong.push(format!("message {number}: {what}: {entry:?}"));
                }
                entry.add_to(&mut summary);
            }
        });
        let count = wrong.len();
        wrong.truncate(20);
        assert!(wrong.is_empty(), "{count} messages are not in order:\n{}\nof {summary}", wrong.join("\n"));
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
        let twice = (self.fresh as usize).saturating_sub(1);
        summary.published_twice += twice;
        summary.redelivered += delivered.saturating_sub(1) - twice.min(delivered.saturating_sub(1));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { published, confirmed, returned, nacked, lost, lost_and_delivered, .. } = self;
        let Summary { delivered, redelivered, published_twice, .. } = self;
        write!(
            f,
            "{published} published, {confirmed} confirmed, {returned} returned, {nacked} nacked, {lost} lost ({lost_and_delivered} of them \
             delivered); {delivered} delivered, {redelivered} more times flagged, {published_twice} more times published again"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a ledger with this history adds up.
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
        assert!(!adds_up(|ledger| delivered(ledger, &[(false, false), (false, true)])));
        assert!(!adds_up(|ledger| delivered(ledger, &[(false, true), (true, false)])));
        assert!(!adds_up(|ledger| _ = ledger.deliver(7, false)));
    }
}
