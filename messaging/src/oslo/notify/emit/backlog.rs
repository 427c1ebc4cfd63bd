//! Notifications that wait to be emitted, in order.

use std::{collections::VecDeque, sync::Arc};

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

/// The waiting notifications, oldest first, limited by number and bytes.
pub(super) struct Backlog {
    waiting: VecDeque<Arc<Waiting>>,
    bytes: usize,
    /// How many at the front are being emitted.
    on_their_way: usize,
    most: usize,
    most_bytes: usize,
    when_full: WhenFull,
    next: u64,
}

impl Backlog {
    pub(super) fn new(most: usize, most_bytes: usize, when_full: WhenFull) -> Self {
        let waiting = VecDeque::new();
        Backlog { waiting, bytes: 0, on_their_way: 0, most, most_bytes, when_full, next: 0 }
    }

    /// Puts back earlier notifications, in the order of their numbers and regardless of the limits.
    pub(super) fn restore(&mut self, number: u64, notification: Notification) {
        let waiting = Waiting::new(number, notification);
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
        self.next = self.next.max(number + 1);
    }

    /// Appends one; returns it, and those that were dropped to make room.
    pub(super) fn push(
        &mut self,
        notification: Notification,
    ) -> Result<(Arc<Waiting>, Vec<Arc<Waiting>>), NotifyError> {
        let waiting = Waiting::new(self.next, notification);
        let (mut fewer, mut bytes) = (0, self.bytes);
        while self.waiting.len() - fewer >= self.most || bytes + waiting.bytes > self.most_bytes {
            let oldest = self.waiting.get(self.on_their_way + fewer);
            let Some(oldest) = oldest.filter(|_| self.when_full == WhenFull::DropOldest) else {
                return Err(NotifyError::Full { notifications: self.waiting.len(), bytes: self.bytes });
            };
            bytes -= oldest.bytes;
            fewer += 1;
        }
        let dropped = self.waiting.drain(self.on_their_way..self.on_their_way + fewer).collect();
        self.next += 1;
        self.bytes = bytes + waiting.bytes;
        self.waiting.push_back(waiting.clone());
        Ok((waiting, dropped))
    }

    /// Takes at most `most` of the oldest, which count as being emitted until they
    /// [`land`](Self::land).
    pub(super) fn take(&mut self, most: usize) -> Vec<Arc<Waiting>> {
        let taken: Vec<_> = self.waiting.iter().take(most).cloned().collect();
        self.on_their_way = taken.len();
        taken
    }

    /// Notes that none is being emitted any more.
    pub(super) fn land(&mut self) {
        self.on_their_way = 0;
    }

    /// Removes one, if it is still there; the oldest is found at once.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.number == number)
            && let Some(waiting) = self.waiting.remove(at)
        {
            self.bytes -= waiting.bytes;
            self.on_their_way -= usize::from(at < self.on_their_way);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oslo::{notify::level::Level, wire::context::Context};

    fn notification(payload: &str) -> Notification {
        Notification::new(Level::Info, &"p".into(), "", payload, Context::new()).unwrap()
    }

    fn numbers<'a>(waiting: impl IntoIterator<Item = &'a Arc<Waiting>>) -> Vec<u64> {
        waiting.into_iter().map(|waiting| waiting.number).collect()
    }

    #[test]
    fn what_has_no_room_is_refused_by_number_and_by_bytes() {
        let mut backlog = Backlog::new(2, 10_000, WhenFull::Refuse);
        for payload in ["a", "b"] {
            backlog.push(notification(payload)).unwrap();
        }
        assert!(matches!(backlog.push(notification("c")), Err(NotifyError::Full { notifications: 2, .. })));
        backlog.take(1);
        backlog.remove(0);
        backlog.land();
        assert!(backlog.push(notification(&"x".repeat(10_000))).is_err());
        assert_eq!(backlog.push(notification("c")).unwrap().0.number, 2);
        assert_eq!(numbers(&backlog.take(9)), [1, 2]);
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
        backlog.take(1);
        let (_, dropped) = backlog.push(notification(&"x".repeat(700))).unwrap();
        assert_eq!(numbers(&dropped), [1]);
        let (_, dropped) = backlog.push(notification(&"x".repeat(900))).unwrap();
        assert_eq!(numbers(&dropped), [2, 3]);
        assert!(backlog.push(notification(&"x".repeat(2000))).is_err());
        assert_eq!(numbers(&backlog.waiting), [0, 4]);
        backlog.land();
        assert_eq!(numbers(&backlog.take(1)), [0]);
        backlog.remove(0);
        backlog.remove(4);
        assert_eq!((backlog.len(), backlog.bytes, backlog.on_their_way), (0, 0, 0));
    }
}
