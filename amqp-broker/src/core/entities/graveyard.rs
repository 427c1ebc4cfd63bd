//! Messages that died, until they are published anew, and those that left their queue for good or returned to it.

use std::collections::{HashMap, VecDeque};

use amqp_codec::ShortString;

use super::{ready::Entry, stream::StreamRecord};
use crate::core::{
    content::message::{Message, Origin},
    journal::{
        groups::Groups,
        kept::Kept,
        records::{Changes, Record},
    },
    rabbitmq::{arguments::DeadLetter, death::Reason},
};

/// From so many on that wait to be published anew, or so many bytes of them, nothing more is let die that can wait for it.
const CROWD: usize = 1024;

/// What one that waits takes beside its message.
const DEAD_OVERHEAD: u64 = 256;

/// A message that died, on its way to its queue's dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    /// The name of the queue, which may be gone when its turn comes.
    pub(crate) queue: ShortString,
    pub(crate) to: DeadLetter,
    pub(crate) reason: Reason,
    /// With which transaction it is written that it died: its letter is, too.
    pub(crate) kept: Kept,
    /// What it has died of, if that was a publish.
    pub(crate) origin: Option<Origin>,
}

impl Dead {
    fn weight(&self) -> u64 {
        DEAD_OVERHEAD + self.message.weight()
    }
}

/// Messages that died, and what became of those that survive the process. Queues take turns, so that one where much dies
/// holds up no other; those of one queue are in the order in which they died.
#[derive(Debug)]
pub(crate) struct Graveyard {
    queues: HashMap<ShortString, VecDeque<Dead>>,
    /// The queues that have some, whose turn it is first.
    order: VecDeque<ShortString>,
    waiting: usize,
    /// Bytes of those that wait, and how many there may be.
    weight: u64,
    room: u64,
    /// How many letters may come of one publish.
    most_letters: u32,
    /// The publish that is under way, if one is: what dies of it counts for it.
    cause: Option<Option<Origin>>,
    lost: Lost,
    /// Bytes of the messages in queues and with consumers.
    held: u64,
    gone: Changes,
    groups: Groups,
}

/// Messages that died too many, or too large, and have got no letter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// Of the last of them: where it died, and where its letter would have gone.
    pub(crate) queue: ShortString,
    pub(crate) exchange: ShortString,
}

impl Graveyard {
    /// Where so many letters may come of one publish, and so many bytes of messages may wait for theirs.
    pub(crate) fn new(most_letters: u32, room: u64) -> Self {
        Graveyard {
            queues: HashMap::new(),
            order: VecDeque::new(),
            waiting: 0,
            weight: 0,
            room,
            most_letters,
            cause: None,
            lost: Lost::default(),
            held: 0,
            gone: Changes::default(),
            groups: Groups::default(),
        }
    }

    /// What is to be written together.
    pub(crate) fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// Whether nothing waits to be published anew.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Tells whether so much waits that nothing more should die before some of it is published.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting >= CROWD || self.weight > self.room / 2
    }

    /// Bytes of what is to be written of transactions that are under way.
    #[inline]
    pub(crate) fn unwritten(&self) -> u64 {
        self.groups.weight()
    }

    /// Bytes of what waits to be published anew.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// A publish begins: what dies until [`publish_ends`](Self::publish_ends) dies of it.
    #[inline]
    pub(crate) fn publish_begins(&mut self, origin: Option<Origin>) {
        self.cause = Some(origin);
    }

    /// The publish ends, or is interrupted: what its letters come of, if there are any.
    #[inline]
    pub(crate) fn publish_ends(&mut self) -> Option<Origin> {
        self.cause.take().flatten()
    }

    /// A message has died.
    pub(crate) fn push_back(
        &mut self,
        message: Message,
        kept: Kept,
        queue: &ShortString,
        to: &DeadLetter,
        reason: Reason,
    ) {
        let origin = match &mut self.cause {
            // Whoever publishes finds what has expired, and is not what it died of.
            Some(cause) if reason != Reason::Expired => Some(cause.get_or_insert_default().clone()),
            _ => message.origin(),
        };
        let is_too_many = origin.as_ref().is_some_and(|origin| !origin.counts(self.most_letters));
        let kept = self.groups.following(kept);
        let dead = Dead { message, queue: queue.clone(), to: to.clone(), reason, kept, origin };
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

    /// The next to be published anew.
    pub(crate) fn pop_front(&mut self) -> Option<Dead> {
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

    /// What has got no letter since this was last asked, if anything.
    pub(crate) fn take_lost(&mut self) -> Option<Lost> {
        if self.lost.count == 0 { None } else { Some(std::mem::take(&mut self.lost)) }
    }

    /// Tells whether anything has got no letter.
    #[inline]
    pub(crate) fn has_lost(&self) -> bool {
        self.lost.count > 0
    }

    /// Bytes of the messages in queues and with consumers.
    #[inline]
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// A message has entered a queue.
    #[inline]
    pub(crate) fn entered(&mut self, message: &Message) {
        self.held += message.enter();
    }

    /// A message has left the queue of this serial number for good.
    #[inline]
    pub(crate) fn left(&mut self, queue: u64, entry: &Entry) {
        self.freed(&entry.message);
        self.note(entry.kept, || Record::Gone { queue, position: entry.position });
    }

    #[inline]
    fn note(&mut self, kept: Kept, record: impl FnOnce() -> Record) {
        if kept.is_kept() {
            self.groups.of(kept).unwrap_or(&mut self.gone).push(record());
        }
    }

    /// A message has left a queue that need not be told of it: a stream, or one that is gone itself.
    #[inline]
    pub(crate) fn freed(&mut self, message: &Message) {
        self.held = self.held.saturating_sub(message.leave());
    }

    /// A message has left the stream of this serial number for good.
    pub(crate) fn left_stream(&mut self, queue: u64, record: &StreamRecord) {
        self.freed(&record.message);
        self.note(record.kept, || Record::Gone { queue, position: record.offset });
    }

    /// The stream of this serial number has become empty: nothing else tells where its offsets go on.
    pub(crate) fn emptied(&mut self, queue: u64, end: u64) {
        self.gone.push(Record::Emptied { queue, end });
    }

    /// A message has returned to the quorum queue of this serial number.
    pub(crate) fn returned(&mut self, queue: u64, entry: &mut Entry) {
        if entry.kept.is_kept() {
            // What becomes of it next is not written before this is.
            entry.kept = self.groups.following(entry.kept);
        }
        self.note(entry.kept, || Record::Returned(entry.stored(queue)));
    }

    /// What left since this was last asked.
    pub(crate) fn take_gone(&mut self, changes: &mut Changes) {
        changes.append(&mut self.gone);
    }

    /// Whether anything left since that was last asked.
    #[inline]
    pub(crate) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::content::message::Draft;

    fn expire(graveyard: &mut Graveyard, queue: &'static str) {
        die_of(graveyard, queue, Reason::Expired);
    }

    fn die(graveyard: &mut Graveyard, queue: &'static str) {
        die_of(graveyard, queue, Reason::MaxLength);
    }

    fn die_of(graveyard: &mut Graveyard, queue: &'static str, reason: Reason) {
        let to = DeadLetter { exchange: ShortString::EMPTY, key: None };
        let message = Draft::default().message(false, None);
        graveyard.push_back(message, Kept::NO, &ShortString::from_static(queue), &to, reason);
    }

    fn next(graveyard: &mut Graveyard) -> Option<String> {
        graveyard.pop_front().map(|dead| dead.queue.to_string())
    }

    #[test]
    fn queues_take_turns_however_much_dies_in_one() {
        let mut graveyard = Graveyard::new(100, 1 << 20);
        for queue in ["a", "a", "a", "b"] {
            die(&mut graveyard, queue);
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&mut graveyard)).collect();
        assert_eq!(order, ["a", "b", "a", "a"]);
        assert!(graveyard.is_empty() && graveyard.queues.is_empty() && graveyard.weight == 0);
    }

    #[test]
    fn of_one_publish_only_so_many_letters_come() {
        let mut graveyard = Graveyard::new(2, 1 << 20);
        graveyard.publish_begins(None);
        for queue in ["a", "b", "c"] {
            die(&mut graveyard, queue);
        }
        let origin = graveyard.publish_ends();
        assert_eq!(
            graveyard.take_lost().map(|lost| (lost.count, lost.queue.to_string())),
            Some((1, "c".to_owned()))
        );
        // Those that die of its letters are of it too, those that it finds expired are not.
        graveyard.publish_begins(origin);
        die(&mut graveyard, "a");
        expire(&mut graveyard, "a");
        graveyard.publish_ends();
        assert_eq!(graveyard.take_lost().map(|lost| lost.count), Some(1));
        die(&mut graveyard, "d");
        assert!(graveyard.take_lost().is_none());
        assert_eq!(graveyard.waiting, 4);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_too() {
        let mut graveyard = Graveyard::new(100, 2 * DEAD_OVERHEAD);
        for queue in ["a", "b", "c"] {
            die(&mut graveyard, queue);
        }
        assert_eq!(graveyard.take_lost().map(|lost| lost.count), Some(1));
        assert!(graveyard.is_crowded());
    }
}
