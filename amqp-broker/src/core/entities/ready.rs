//! The ready messages of a queue, by priority and then in the order of their arrival, which a
//! requeued message returns to.

use crate::core::{
    collections::segments::Segments,
    content::{extra_header::with_extra_header, message::Message},
    journal::{kept::Kept, records::Stored},
};

/// Never: for a message that does not expire, and a timer that is not set.
pub(crate) const NEVER: u64 = u64::MAX;

/// A message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// Its position: the messages of a priority are in ascending order.
    pub(crate) position: u64,
    /// When it expires, in milliseconds of the broker's clock, or [`NEVER`].
    pub(crate) expires_at: u64,
    pub(crate) priority: u8,
    pub(crate) redelivered: bool,
    /// How often it was returned to a quorum queue.
    pub(crate) returns: u32,
    pub(crate) kept: Kept,
}

impl Entry {
    /// The record of it in the queue of this serial number.
    pub(crate) fn stored(&self, queue: u64) -> Stored {
        Stored {
            queue,
            position: self.position,
            expires_at: self.expires_at,
            priority: self.priority,
            redelivered: self.redelivered,
            returns: self.returns,
            message: self.message.clone(),
        }
    }

    /// The content header for the delivery, if it differs from the published one: a message that
    /// returned to a quorum queue carries the number of returns.
    #[inline]
    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        if self.returns == 0 { None } else { self.counted() }
    }

    /// The content header with the number of returns, even if that is 0: RabbitMQ sends it so to
    /// `basic.get` from a quorum queue.
    pub(crate) fn counted(&self) -> Option<Vec<u8>> {
        with_extra_header(self.message.parts().header, "x-delivery-count", self.returns.into()).ok()
    }
}

/// Ready messages in order.
#[derive(Debug)]
pub(crate) struct Ready {
    /// One queue for each priority, the lowest first.
    levels: Vec<Segments<Entry>>,
    /// Messages that returned to a quorum queue, in the order of their return; they precede all
    /// others.
    returned: Segments<Entry>,
    count: usize,
    body_bytes: u64,
    /// How many messages may expire.
    expiring: usize,
}

impl Ready {
    /// Creates queues for the priorities 0 to `max_priority`.
    pub(crate) fn new(max_priority: u8) -> Self {
        let levels = (0..=max_priority).map(|_| Segments::default()).collect();
        Ready { levels, returned: Segments::default(), count: 0, body_bytes: 0, expiring: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all bodies.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The highest priority that the queue knows.
    pub(crate) fn max_priority(&self) -> u8 {
        (self.levels.len() - 1).min(usize::from(u8::MAX)) as u8
    }

    /// Puts a new message at the end.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) {
        self.put(&entry);
        if let Some(level) = self.levels.get_mut(usize::from(entry.priority)) {
            level.push_back(entry);
        }
    }

    /// Puts a message back to its position.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.put(&entry);
        if let Some(level) = self.levels.get_mut(usize::from(entry.priority)) {
            // A returning message is older than nearly all others.
            match level.front() {
                Some(front) if front.position < entry.position => {
                    let position = entry.position;
                    level.insert_after(entry, |other| other.position < position);
                }
                _ => level.push_front(entry),
            }
        }
    }

    /// Takes back a message that goes before all that never returned, and after those that did.
    pub(crate) fn put_ahead(&mut self, entry: Entry) {
        self.put(&entry);
        self.returned.push_back(entry);
    }

    /// Takes the next message to be delivered.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        if let Some(entry) = self.returned.pop_front() {
            return Some(self.taken(entry));
        }
        let entry = self.levels.iter_mut().rev().find_map(Segments::pop_front)?;
        Some(self.taken(entry))
    }

    /// Takes an expired message at the head of its priority.
    #[inline]
    pub(crate) fn pop_expired(&mut self, now: u64) -> Option<Entry> {
        if self.expiring == 0 { None } else { self.find_expired(now) }
    }

    fn find_expired(&mut self, now: u64) -> Option<Entry> {
        if let Some(first) = self.returned.front() {
            let entry = if first.expires_at <= now { self.returned.pop_front() } else { None };
            return entry.map(|entry| self.taken(entry));
        }
        let expired =
            |level: &&mut Segments<Entry>| level.front().is_some_and(|entry| entry.expires_at <= now);
        let entry = self.levels.iter_mut().find(expired)?.pop_front()?;
        Some(self.taken(entry))
    }

    /// When the first of the messages at the heads expires.
    #[inline]
    pub(crate) fn next_expiry(&self) -> u64 {
        if self.expiring == 0 { NEVER } else { self.find_expiry() }
    }

    fn find_expiry(&self) -> u64 {
        if let Some(first) = self.returned.front() {
            return first.expires_at;
        }
        self.levels.iter().filter_map(Segments::front).map(|entry| entry.expires_at).min().unwrap_or(NEVER)
    }

    /// All messages, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.returned.iter().chain(self.levels.iter().flat_map(Segments::iter))
    }

    /// Takes all messages out.
    pub(crate) fn take(&mut self) -> Ready {
        let empty = Ready::new(self.max_priority());
        std::mem::replace(self, empty)
    }

    #[inline]
    fn put(&mut self, entry: &Entry) {
        self.count += 1;
        self.expiring += usize::from(entry.expires_at != NEVER);
        self.body_bytes += entry.message.body_len() as u64;
    }

    #[inline]
    fn taken(&mut self, entry: Entry) -> Entry {
        self.count -= 1;
        self.expiring -= usize::from(entry.expires_at != NEVER);
        self.body_bytes -= entry.message.body_len() as u64;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::content::message::Draft;

    fn entry(position: u64, priority: u8) -> Entry {
        let mut draft = Draft::default();
        draft.start(b"", b"q");
        draft.small(b"body");
        Entry {
            message: draft.message(false, None),
            position,
            expires_at: NEVER,
            priority,
            redelivered: false,
            returns: 0,
            kept: Kept::NO,
        }
    }

    fn positions(ready: &mut Ready) -> Vec<u64> {
        std::iter::from_fn(|| ready.pop()).map(|entry| entry.position).collect()
    }

    #[test]
    fn what_is_put_back_in_any_order_returns_to_its_place() {
        let mut ready = Ready::new(0);
        (0..6).for_each(|position| ready.push(entry(position, 0)));
        let taken: Vec<_> = (0..4).filter_map(|_| ready.pop()).collect();
        for index in [2, 0, 3, 1] {
            ready.put_back(taken[index].clone());
        }
        assert_eq!((ready.len(), ready.body_bytes()), (6, 24));
        assert_eq!(positions(&mut ready), [0, 1, 2, 3, 4, 5]);
        assert_eq!(ready.body_bytes(), 0);
    }

    #[test]
    fn the_highest_priority_is_due_first() {
        let mut ready = Ready::new(9);
        for (position, priority) in [(0, 1), (1, 9), (2, 0), (3, 9)] {
            ready.push(entry(position, priority));
        }
        assert_eq!(positions(&mut ready), [1, 3, 0, 2]);
    }

    #[test]
    fn only_the_head_expires() {
        let mut ready = Ready::new(0);
        ready.push(Entry { expires_at: 20, ..entry(0, 0) });
        ready.push(Entry { expires_at: 10, ..entry(1, 0) });
        assert_eq!(ready.next_expiry(), 20);
        assert!(ready.pop_expired(15).is_none());
        assert_eq!(ready.pop_expired(20).map(|entry| entry.position), Some(0));
        assert_eq!(ready.pop_expired(20).map(|entry| entry.position), Some(1));
    }
}
