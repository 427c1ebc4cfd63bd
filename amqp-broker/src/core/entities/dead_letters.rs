//! Messages that died and wait to be published as dead letters, and copies for whoever traces.

use std::collections::{HashMap, VecDeque};

use amqp_codec::ShortString;

use crate::core::{
    content::message::{Message, Origin},
    journal::kept::Kept,
    rabbitmq::{arguments::DeadLetterTarget, death::Reason},
};

/// How many dead messages, or how many bytes of them, may wait before work that would kill more of
/// them is put off.
const CROWD: usize = 1024;

/// The memory of a waiting dead message besides its octets.
const DEAD_OVERHEAD: u64 = 256;

/// A message that died and goes to its queue's dead-letter exchange.
#[derive(Debug)]
pub(crate) struct DeadMessage {
    pub(crate) message: Message,
    /// The name of the queue, which may be deleted before the dead letter is published.
    pub(crate) queue: ShortString,
    pub(crate) to: DeadLetterTarget,
    /// Why it died; `None` for the copy of a message that is traced, which goes out as it is.
    pub(crate) reason: Option<Reason>,
    /// The transaction with which the message's death is written to disk; its dead letter is
    /// written with it, too.
    pub(crate) kept: Kept,
    /// The publish that caused its death, if one did.
    pub(crate) origin: Option<Origin>,
}

impl DeadMessage {
    fn weight(&self) -> u64 {
        DEAD_OVERHEAD + self.message.weight()
    }
}

/// Messages that died and wait for their dead letter to be published. Queues take turns, so that
/// one with many dead messages does not delay the others; those of one queue stay in the order in
/// which they died.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    queues: HashMap<ShortString, VecDeque<DeadMessage>>,
    /// The queues that have dead messages, in the order of their turns.
    order: VecDeque<ShortString>,
    waiting: usize,
    /// How many bytes wait, and how many may.
    weight: u64,
    room: u64,
    /// The most dead letters that may stem from one publish.
    most_letters: u32,
    /// The publish that is being executed, if any: messages that die now count against it.
    cause: Option<Option<Origin>>,
    lost: Lost,
}

/// Dead messages that got no dead letter, because they were too many or too large.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// The queue in which the last of them died, and where its dead letter would have gone.
    pub(crate) queue: ShortString,
    pub(crate) exchange: ShortString,
}

impl DeadLetters {
    /// Allows so many dead letters for one publish, and so many bytes of waiting messages.
    pub(crate) fn new(most_letters: u32, room: u64) -> Self {
        DeadLetters {
            queues: HashMap::new(),
            order: VecDeque::new(),
            waiting: 0,
            weight: 0,
            room,
            most_letters,
            cause: None,
            lost: Lost::default(),
        }
    }

    /// Tells whether no dead message waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Tells whether so many wait that nothing more should die before some are published.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting >= CROWD || self.weight > self.room / 2
    }

    /// How many bytes wait to be published.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Begins a publish: it is the cause of all deaths until [`publish_ends`](Self::publish_ends).
    #[inline]
    pub(crate) fn publish_begins(&mut self, origin: Option<Origin>) {
        self.cause = Some(origin);
    }

    /// Ends or interrupts the publish; returns the origin of its dead letters, if there are any.
    #[inline]
    pub(crate) fn publish_ends(&mut self) -> Option<Origin> {
        self.cause.take().flatten()
    }

    /// Adds a message that died; `kept` says with which transaction that is written.
    pub(crate) fn push_back(
        &mut self,
        message: Message,
        kept: Kept,
        queue: &ShortString,
        to: &DeadLetterTarget,
        reason: Reason,
    ) {
        let origin = match &mut self.cause {
            // A publish may find expired messages, but does not cause their death.
            Some(cause) if reason != Reason::Expired => Some(cause.get_or_insert_default().clone()),
            _ => message.origin(),
        };
        let dead = DeadMessage {
            message,
            queue: queue.clone(),
            to: to.clone(),
            reason: Some(reason),
            kept,
            origin: origin.clone(),
        };
        let is_too_many = origin.as_ref().is_some_and(|origin| !origin.counts(self.most_letters));
        self.push(dead, is_too_many);
    }

    /// Adds the copy of a message for whoever traces, whose names are those of the copy. Copies
    /// have a turn of their own.
    pub(crate) fn push_traced(&mut self, message: Message, exchange: &ShortString) {
        let (queue, to) = (exchange.clone(), DeadLetterTarget { exchange: exchange.clone(), key: None });
        self.push(DeadMessage { message, queue, to, reason: None, kept: Kept::NO, origin: None }, false);
    }

    fn push(&mut self, dead: DeadMessage, is_too_many: bool) {
        if is_too_many || self.weight.saturating_add(dead.weight()) > self.room && self.waiting > 0 {
            self.lost.count += 1;
            self.lost.queue = dead.queue;
            self.lost.exchange = dead.to.exchange;
            return;
        }
        self.waiting += 1;
        self.weight += dead.weight();
        let same = self.queues.entry(dead.queue.clone()).or_default();
        if same.is_empty() {
            self.order.push_back(dead.queue.clone());
        }
        same.push_back(dead);
    }

    /// Takes the next message to be published.
    pub(crate) fn pop_front(&mut self) -> Option<DeadMessage> {
        let queue = self.order.pop_front()?;
        let same = self.queues.get_mut(&queue)?;
        let dead = same.pop_front()?;
        if same.is_empty() {
            self.queues.remove(&queue);
        } else {
            self.order.push_back(queue);
        }
        self.waiting -= 1;
        self.weight -= dead.weight();
        Some(dead)
    }

    /// Takes the account of messages that got no dead letter since the last call, if there are any.
    pub(crate) fn take_lost(&mut self) -> Option<Lost> {
        if self.lost.count == 0 { None } else { Some(std::mem::take(&mut self.lost)) }
    }

    /// Tells whether any message got no dead letter.
    #[inline]
    pub(crate) fn has_lost(&self) -> bool {
        self.lost.count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::content::message::Draft;

    fn expire(dead_letters: &mut DeadLetters, queue: &'static str) {
        die_of(dead_letters, queue, Reason::Expired);
    }

    fn die(dead_letters: &mut DeadLetters, queue: &'static str) {
        die_of(dead_letters, queue, Reason::MaxLength);
    }

    fn die_of(dead_letters: &mut DeadLetters, queue: &'static str, reason: Reason) {
        let to = DeadLetterTarget { exchange: ShortString::EMPTY, key: None };
        let message = Draft::default().message(false, None);
        dead_letters.push_back(message, Kept::NO, &ShortString::from_static(queue), &to, reason);
    }

    fn next(dead_letters: &mut DeadLetters) -> Option<String> {
        dead_letters.pop_front().map(|dead| dead.queue.to_string())
    }

    #[test]
    fn queues_take_turns_however_much_dies_in_one() {
        let mut dead_letters = DeadLetters::new(100, 1 << 20);
        for queue in ["a", "a", "a", "b"] {
            die(&mut dead_letters, queue);
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&mut dead_letters)).collect();
        assert_eq!(order, ["a", "b", "a", "a"]);
        assert!(dead_letters.is_empty() && dead_letters.queues.is_empty() && dead_letters.weight == 0);
    }

    #[test]
    fn of_one_publish_only_so_many_letters_come() {
        let mut dead_letters = DeadLetters::new(2, 1 << 20);
        dead_letters.publish_begins(None);
        for queue in ["a", "b", "c"] {
            die(&mut dead_letters, queue);
        }
        let origin = dead_letters.publish_ends();
        assert_eq!(
            dead_letters.take_lost().map(|lost| (lost.count, lost.queue.to_string())),
            Some((1, "c".to_owned()))
        );
        // Deaths that its dead letters cause count against the publish; messages found expired do
        // not.
        dead_letters.publish_begins(origin);
        die(&mut dead_letters, "a");
        expire(&mut dead_letters, "a");
        dead_letters.publish_ends();
        assert_eq!(dead_letters.take_lost().map(|lost| lost.count), Some(1));
        die(&mut dead_letters, "d");
        assert!(dead_letters.take_lost().is_none());
        assert_eq!(dead_letters.waiting, 4);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_too() {
        let mut dead_letters = DeadLetters::new(100, 2 * DEAD_OVERHEAD);
        for queue in ["a", "b", "c"] {
            die(&mut dead_letters, queue);
        }
        assert_eq!(dead_letters.take_lost().map(|lost| lost.count), Some(1));
        assert!(dead_letters.is_crowded());
    }
}
