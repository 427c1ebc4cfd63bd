//! Counts of the messages of a round, each of which is to be handled once.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

const BITS: u64 = u64::BITS as u64;

/// The messages of a kind in a round, by their numbers from 0.
#[derive(Debug)]
pub(super) struct Tally {
    name: String,
    /// A bit for each message that was handled in this round.
    seen: Box<[AtomicU64]>,
    expected: u64,
    handled: AtomicU64,
    is_complete: Notify,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts rounds of so many messages.
    pub(super) fn new(name: impl Into<String>, expected: u64) -> Self {
        let words = expected.div_ceil(BITS);
        Tally {
            name: name.into(),
            seen: (0..words).map(|_| AtomicU64::new(0)).collect(),
            expected,
            handled: AtomicU64::new(0),
            is_complete: Notify::new(),
            wrong: Mutex::default(),
        }
    }

    /// The number of messages in a round.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Notes that a message was handled.
    pub(super) fn handle(&self, number: u64) {
        if number >= self.expected {
            return self.wrong(format!("message {number} was never published"));
        }
        let bit = 1 << (number % BITS);
        if self.seen[(number / BITS) as usize].fetch_or(bit, Ordering::Relaxed) & bit > 0 {
            return self.wrong(format!("message {number} was handled twice"));
        }
        if self.handled.fetch_add(1, Ordering::AcqRel) + 1 == self.expected {
            self.is_complete.notify_one();
        }
    }

    /// Notes something that must not happen.
    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    /// Waits until all messages of the round have been handled.
    pub(super) async fn complete(&self) {
        while self.handled.load(Ordering::Acquire) < self.expected {
            self.is_complete.notified().await;
        }
    }

    /// Ends the round, and returns what was wrong in it.
    pub(super) fn end(&self) -> Vec<String> {
        let handled = self.handled.swap(0, Ordering::AcqRel);
        self.seen.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        let mut wrong = std::mem::take(&mut *self.wrong.lock().unwrap_or_else(PoisonError::into_inner));
        if handled != self.expected {
            wrong.push(format!("{handled} of {} messages were handled", self.expected));
        }
        wrong.iter().map(|what| format!("{}: {what}", self.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_in_which_each_is_handled_once_is_complete_and_another_can_follow() {
        let tally = Tally::new("tasks", 130);
        for _ in 0..2 {
            (0..130).for_each(|number| tally.handle(number));
            tally.complete().await;
            assert_eq!(tally.end(), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_lost_doubled_or_made_up_is_told() {
        let tally = Tally::new("tasks", 3);
        [0, 2].into_iter().for_each(|number| tally.handle(number));
        assert_eq!(tally.end(), ["tasks: 2 of 3 messages were handled"]);
        [0, 1, 2, 1].into_iter().for_each(|number| tally.handle(number));
        assert_eq!(tally.end(), ["tasks: message 1 was handled twice"]);
        [0, 1, 2, 3].into_iter().for_each(|number| tally.handle(number));
        assert_eq!(tally.end(), ["tasks: message 3 was never published"]);
    }
}
