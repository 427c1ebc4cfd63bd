//! The ready messages of a queue, by priority and then in the order of their arrival, which a
//! requeued message returns to.

use std::collections::BTreeMap;

use crate::core::{
    collections::segments::Segments,
    content::{extra_header::with_extra_header, message::Message, returns::Returns},
    journal::{kept::Kept, records::Stored},
    rabbitmq::arguments::Order,
};

/// Never: for a message that does not expire, and a timer that is not set.
pub(crate) const NEVER: u64 = u64::MAX;

/// A message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// Its position: the messages of a priority, and those that returned to a quorum queue, are in
    /// ascending order.
    pub(crate) position: u64,
    /// When it expires, in milliseconds of the broker's clock, or [`NEVER`].
    pub(crate) expires_at: u64,
    pub(crate) priority: u8,
    pub(crate) redelivered: bool,
    /// How often it was returned to a quorum queue.
    pub(crate) returns: Returns,
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
            returns: self.returns.counted(),
            message: self.message.clone(),
        }
    }

    /// The content header for the delivery, if it differs from the published one: a message that
    /// returned to a quorum queue carries the number of returns.
    #[inline]
    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        if self.returns.is_none() { None } else { self.counted() }
    }

    /// The content header with the number of returns, even if that is 0: RabbitMQ sends it so to
    /// `basic.get` from a quorum queue.
    pub(crate) fn counted(&self) -> Option<Vec<u8>> {
        let header = self.message.parts().header;
        let counted =
            |header: &[u8]| with_extra_header(header, "x-delivery-count", self.returns.counted().into());
        let Some(all) = self.returns.all() else { return counted(header).ok() };
        let header = with_extra_header(header, "x-acquired-count", all.into()).ok()?;
        if self.returns.counted() == 0 { Some(header) } else { counted(&header).ok() }
    }
}

/// The turns of two levels of which the higher gets two and the lower one. In the lower one's turn
/// the older of both first messages comes.
#[derive(Clone, Copy, Debug, Default)]
struct Turn(u8);

impl Turn {
    const OF_LOWER: u8 = 2;

    fn pass(&mut self) {
        self.0 = if self.0 == Self::OF_LOWER { 0 } else { self.0 + 1 };
    }
}

/// The level of a priority in an order.
#[inline]
fn level(order: Order, priority: u8) -> u8 {
    match order {
        Order::Strict(most) => priority.min(most),
        Order::TwoToOne => u8::from(priority > 4),
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
    /// Messages that returned and are set aside until their time, with the order of their return.
    delayed: BTreeMap<(u64, u64), Entry>,
    last_delayed: u64,
    /// The place of the two levels of such an order in their turns.
    turn: Option<Turn>,
    count: usize,
    body_bytes: u64,
    /// How many messages may expire.
    expiring: usize,
}

impl Ready {
    /// Creates queues for all levels of priorities in this order.
    pub(crate) fn new(order: Order) -> Self {
        let levels = (0..=level(order, u8::MAX)).map(|_| Segments::default()).collect();
        Ready {
            levels,
            returned: Segments::default(),
            delayed: BTreeMap::new(),
            last_delayed: 0,
            turn: (order == Order::TwoToOne).then(Turn::default),
            count: 0,
            body_bytes: 0,
            expiring: 0,
        }
    }

    fn order(&self) -> Order {
        match self.turn {
            Some(_) => Order::TwoToOne,
            None => Order::Strict((self.levels.len() - 1).min(usize::from(u8::MAX)) as u8),
        }
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

    /// The level of a message of this priority.
    #[inline]
    pub(crate) fn level(&self, priority: u8) -> u8 {
        level(self.order(), priority)
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

    /// Sets a message aside that returned, until `due`: it is not ready before.
    pub(crate) fn set_aside(&mut self, entry: Entry, due: u64) {
        self.last_delayed += 1;
        self.delayed.insert((due, self.last_delayed), entry);
    }

    /// Returns the time at which the first message that is set aside is due.
    #[inline]
    pub(crate) fn next_due(&self) -> u64 {
        self.delayed.first_key_value().map_or(NEVER, |((due, _), _)| *due)
    }

    /// Makes the first message ready that was set aside and is due; returns whether there was one.
    pub(crate) fn release_due(&mut self, now: u64) -> bool {
        if self.next_due() > now {
            return false;
        }
        let first = self.delayed.pop_first();
        first.into_iter().for_each(|(_, entry)| self.put_ahead(entry));
        true
    }

    /// Takes any message, even one that is set aside.
    pub(crate) fn pop_any(&mut self) -> Option<Entry> {
        self.pop().or_else(|| self.delayed.pop_first().map(|(_, entry)| entry))
    }

    /// Takes the next message to be delivered.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        if let Some(entry) = self.returned.pop_front() {
            return Some(self.taken(entry));
        }
        let entry = match self.turn {
            None => self.levels.iter_mut().rev().find_map(Segments::pop_front)?,
            Some(_) => self.pop_in_turn()?,
        };
        Some(self.taken(entry))
    }

    /// Takes the next message of two levels that have turns.
    fn pop_in_turn(&mut self) -> Option<Entry> {
        let next = self.next_in_turn()?;
        if let Some(turn) = &mut self.turn {
            turn.pass();
        }
        self.levels.get_mut(next)?.pop_front()
    }

    /// The level whose message is next, of two that have turns.
    fn next_in_turn(&self) -> Option<usize> {
        let [lower, higher] = self.levels.first_chunk::<2>()?;
        Some(match (lower.front(), higher.front(), self.turn) {
            (None, None, _) => return None,
            (Some(low), Some(high), Some(Turn(Turn::OF_LOWER))) => usize::from(high.position < low.position),
            (_, Some(_), _) => 1,
            (Some(_), None, _) => 0,
        })
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
        if self.turn.is_some() {
            let next = self.next_in_turn()?;
            let is_expired = self.levels.get(next)?.front().is_some_and(|entry| entry.expires_at <= now);
            let entry = if is_expired { self.pop_in_turn() } else { None };
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
        if self.turn.is_some() {
            let next = self.next_in_turn().and_then(|next| self.levels.get(next)?.front());
            return next.map_or(NEVER, |entry| entry.expires_at);
        }
        self.levels.iter().filter_map(Segments::front).map(|entry| entry.expires_at).min().unwrap_or(NEVER)
    }

    /// All messages, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let ready = self.returned.iter().chain(self.levels.iter().flat_map(Segments::iter));
        ready.chain(self.delayed.values())
    }

    /// Takes all messages out.
    pub(crate) fn take(&mut self) -> Ready {
        let empty = Ready::new(self.order());
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
            returns: Returns::NONE,
            kept: Kept::NO,
        }
    }

    fn positions(ready: &mut Ready) -> Vec<u64> {
        std::iter::from_fn(|| ready.pop()).map(|entry| entry.position).collect()
    }

    #[test]
    fn what_is_put_back_in_any_order_returns_to_its_place() {
        let mut ready = Ready::new(Order::Strict(0));
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
        let mut ready = Ready::new(Order::Strict(9));
        for (position, priority) in [(0, 1), (1, 9), (2, 0), (3, 9)] {
            ready.push(entry(position, priority));
        }
        assert_eq!(positions(&mut ready), [1, 3, 0, 2]);
    }

    /// RabbitMQ 4.0.5 gave this order for these priorities.
    #[test]
    fn two_levels_take_turns_of_two_and_one_and_the_older_of_both_has_the_third() {
        let mut ready = Ready::new(Order::TwoToOne);
        for (position, priority) in (0..).zip([0, 0, 4, 5, 9, 255, 1, 6, 7, 8, 3, 10]) {
            ready.push(entry(position, ready.level(priority)));
        }
        assert_eq!(positions(&mut ready), [3, 4, 0, 5, 7, 1, 8, 9, 2, 11, 6, 10]);
        // A returned message comes before all, and does not count as a turn.
        for position in 0..6 {
            ready.push(entry(position, u8::from(position >= 3)));
        }
        ready.put_ahead(entry(99, 0));
        assert_eq!(positions(&mut ready), [99, 3, 4, 0, 5, 1, 2]);
        assert!(ready.take().is_empty());
    }

    #[test]
    fn of_two_levels_only_the_next_message_expires() {
        let mut ready = Ready::new(Order::TwoToOne);
        ready.push(Entry { expires_at: 10, ..entry(0, 0) });
        ready.push(Entry { expires_at: 20, ..entry(1, 1) });
        assert_eq!(ready.next_expiry(), 20);
        assert!(ready.pop_expired(15).is_none());
        assert_eq!(ready.pop_expired(20).map(|entry| entry.position), Some(1));
        assert_eq!(ready.pop_expired(20).map(|entry| entry.position), Some(0));
    }

    #[test]
    fn what_is_set_aside_is_ready_when_it_is_due_and_not_before() {
        let mut ready = Ready::new(Order::Strict(0));
        ready.push(entry(0, 0));
        ready.set_aside(entry(2, 0), 20);
        ready.set_aside(entry(1, 0), 10);
        ready.set_aside(entry(3, 0), 20);
        assert_eq!((ready.len(), ready.iter().count(), ready.next_due()), (1, 4, 10));
        assert!(!ready.release_due(9) && ready.release_due(15) && !ready.release_due(15));
        assert_eq!(positions(&mut ready), [1, 0]);
        assert_eq!(ready.pop_any().map(|entry| entry.position), Some(2));
        assert!(ready.release_due(20));
        assert_eq!((positions(&mut ready), ready.next_due()), (vec![3], NEVER));
    }

    #[test]
    fn only_the_head_expires() {
        let mut ready = Ready::new(Order::Strict(0));
        ready.push(Entry { expires_at: 20, ..entry(0, 0) });
        ready.push(Entry { expires_at: 10, ..entry(1, 0) });
        assert_eq!(ready.next_expiry(), 20);
        assert!(ready.pop_expired(15).is_none());
        assert_eq!(ready.pop_expired(20).map(|entry| entry.position), Some(0));
        assert_eq!(ready.pop_expired(20).map(|entry| entry.position), Some(1));
    }
}
