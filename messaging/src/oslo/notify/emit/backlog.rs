//! Notifications that wait to be emitted, in order.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{oslo::error::notify::NotifyError, oslo::notify::notification::Notification};

/// The approximate size of a notification besides its texts, in bytes.
const OVERHEAD: usize = 300;

/// What to do with a notification for which a full [`Buffer`](crate::notify::Buffer) has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The notification is refused, with [`NotifyError::Full`].
    #[default]
    Refuse,
    /// The oldest notifications that are not being emitted are given up to make room. The new one
    /// is refused only if that does not suffice.
    DropOldest,
}

/// A waiting notification.
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) notification: Notification,
    pub(super) since: Instant,
    bytes: usize,
}

impl Waiting {
    pub(super) fn new(number: u64, notification: Notification) -> Arc<Self> {
        let context = notification.context.iter().map(|(name, value)| name.len() + size(value));
        let texts = notification.payload.get().len() + notification.event_type.len();
        let bytes = OVERHEAD + texts + context.sum::<usize>();
        Arc::new(Waiting { number, notification, since: Instant::now(), bytes })
    }
}

/// Returns the approximate size of a value in bytes.
fn size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(entries) => entries.iter().map(|(name, value)| name.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// Which notifications are taken to be emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Those that have not been refused.
    First,
    /// Those that have been refused for reasons of their own, and are due again.
    Again,
}

/// The waiting notifications, oldest first, limited by number and bytes.
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    when_full: WhenFull,
    next: u64,
}

struct Entry {
    waiting: Arc<Waiting>,
    is_on_its_way: bool,
    /// The number of its failures for a reason of its own, and when it is tried again.
    failures: u32,
    due: Instant,
}

impl Entry {
    fn is_of(&self, turn: Turn) -> bool {
        !self.is_on_its_way && (self.failures > 0) == (turn == Turn::Again)
    }
}

impl Backlog {
    pub(super) fn new(most: usize, most_bytes: usize, when_full: WhenFull) -> Self {
        Backlog { entries: VecDeque::new(), bytes: 0, most, most_bytes, when_full, next: 0 }
    }

    /// Puts back earlier notifications, in the order of their numbers and regardless of the limits.
    pub(super) fn restore(&mut self, number: u64, notification: Notification) {
        self.append(Waiting::new(number, notification));
        self.next = self.next.max(number + 1);
    }

    /// Appends one; returns it, and those that were dropped to make room.
    pub(super) fn push(
        &mut self,
        notification: Notification,
    ) -> Result<(Arc<Waiting>, Vec<Arc<Waiting>>), NotifyError> {
        let waiting = Waiting::new(self.next, notification);
        let full = NotifyError::Full { notifications: self.entries.len(), bytes: self.bytes };
        let (mut droppable, mut bytes) = (Vec::new(), self.bytes);
        let mut oldest = self.entries.iter().enumerate().filter(|(_, entry)| !entry.is_on_its_way);
        while self.entries.len() - droppable.len() >= self.most || bytes + waiting.bytes > self.most_bytes {
            let Some((at, entry)) = oldest.next().filter(|_| self.when_full == WhenFull::DropOldest) else {
                return Err(full);
            };
            bytes -= entry.waiting.bytes;
            droppable.push(at);
        }
        let dropped = droppable.iter().rev().filter_map(|at| self.entries.remove(*at));
        let mut dropped: Vec<_> = dropped.map(|entry| entry.waiting).collect();
        dropped.reverse();
        self.bytes = bytes;
        self.next += 1;
        self.append(waiting.clone());
        Ok((waiting, dropped))
    }

    fn append(&mut self, waiting: Arc<Waiting>) {
        self.bytes += waiting.bytes;
        self.entries.push_back(Entry { waiting, is_on_its_way: false, failures: 0, due: Instant::now() });
    }

    /// Takes at most `most` of the oldest whose turn it is now, which count as being emitted until
    /// they [`land`](Self::land).
    pub(super) fn take(&mut self, turn: Turn, most: usize, now: Instant) -> Vec<Arc<Waiting>> {
        let due = self.entries.iter_mut().filter(|entry| entry.is_of(turn) && entry.due <= now);
        due.take(most)
            .map(|entry| {
                entry.is_on_its_way = true;
                entry.waiting.clone()
            })
            .collect()
    }

    /// Returns when the next has its turn.
    pub(super) fn next_due(&self, turn: Turn) -> Option<Instant> {
        self.entries.iter().filter(|entry| entry.is_of(turn)).map(|entry| entry.due).min()
    }

    /// Notes that it is no longer being emitted.
    pub(super) fn land(&mut self, number: u64) {
        if let Some(entry) = self.entry(number) {
            entry.is_on_its_way = false;
        }
    }

    /// Notes that it failed for a reason of its own, and is to be tried again after `pause`, which
    /// is given the number of its failures.
    pub(super) fn postpone(&mut self, number: u64, now: Instant, pause: impl Fn(u32) -> Duration) {
        if let Some(entry) = self.entry(number) {
            entry.failures = entry.failures.saturating_add(1);
            entry.due = now + pause(entry.failures);
        }
    }

    /// Removes one, if it is still there.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(entry) = self.index(number).and_then(|at| self.entries.remove(at)) {
            self.bytes -= entry.waiting.bytes;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.index(number).and_then(|at| self.entries.get_mut(at))
    }

    /// Returns where it is: the numbers ascend.
    fn index(&self, number: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.waiting.number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oslo::{notify::level::Level, wire::context::Context};

    fn notification(payload: &str) -> Notification {
        Notification::new(Level::Info, &"p".into(), "", payload, Context::new()).unwrap()
    }

    fn numbers(waiting: &[Arc<Waiting>]) -> Vec<u64> {
        waiting.iter().map(|waiting| waiting.number).collect()
    }

    fn taken(backlog: &mut Backlog, turn: Turn, most: usize) -> Vec<u64> {
        numbers(&backlog.take(turn, most, Instant::now()))
    }

    #[test]
    fn what_has_no_room_is_refused_by_number_and_by_bytes() {
        let mut backlog = Backlog::new(2, 10_000, WhenFull::Refuse);
        for payload in ["a", "b"] {
            backlog.push(notification(payload)).unwrap();
        }
        assert!(matches!(backlog.push(notification("c")), Err(NotifyError::Full { notifications: 2, .. })));
        assert_eq!(taken(&mut backlog, Turn::First, 1), [0]);
        backlog.remove(0);
        assert!(backlog.push(notification(&"x".repeat(10_000))).is_err());
        assert_eq!(backlog.push(notification("c")).unwrap().0.number, 2);
        assert_eq!(taken(&mut backlog, Turn::First, 9), [1, 2]);
        backlog.remove(2);
        backlog.remove(1);
        backlog.remove(1);
        assert_eq!((backlog.len(), backlog.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_make_room_but_not_those_on_their_way() {
        let mut backlog = Backlog::new(3, 2000, WhenFull::DropOldest);
        for payload in ["a", "b", "c"] {
            backlog.push(notification(payload)).unwrap();
        }
        assert_eq!(taken(&mut backlog, Turn::First, 1), [0]);
        let (_, dropped) = backlog.push(notification(&"x".repeat(700))).unwrap();
        assert_eq!(numbers(&dropped), [1]);
        let (_, dropped) = backlog.push(notification(&"x".repeat(900))).unwrap();
        assert_eq!(numbers(&dropped), [2, 3]);
        assert!(backlog.push(notification(&"x".repeat(2000))).is_err());
        backlog.land(0);
        assert_eq!(taken(&mut backlog, Turn::First, 9), [0, 4]);
        backlog.remove(0);
        backlog.remove(4);
        assert_eq!((backlog.len(), backlog.bytes), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_a_reason_of_its_own_has_turns_of_its_own_after_pauses() {
        let mut backlog = Backlog::new(9, 10_000, WhenFull::Refuse);
        for payload in ["a", "b", "c"] {
            backlog.push(notification(payload)).unwrap();
        }
        for failures in 1..=2 {
            let turn = if failures == 1 { Turn::First } else { Turn::Again };
            assert_eq!(taken(&mut backlog, turn, 1), [0]);
            backlog.postpone(0, Instant::now(), |failures| Duration::from_secs(failures.into()));
            assert_eq!(backlog.next_due(Turn::Again), None, "it is on its way");
            backlog.land(0);
            let due = backlog.next_due(Turn::Again).unwrap();
            assert_eq!(due - Instant::now(), Duration::from_secs(failures));
            assert!(taken(&mut backlog, Turn::Again, 9).is_empty());
            tokio::time::advance(Duration::from_secs(failures)).await;
        }
        assert_eq!(taken(&mut backlog, Turn::First, 9), [1, 2]);
        assert_eq!(taken(&mut backlog, Turn::Again, 9), [0]);
    }
}
