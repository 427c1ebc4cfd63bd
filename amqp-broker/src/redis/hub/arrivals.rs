//! What Redis tells without being asked.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::{fanouts::Fanouts, loss::Loss, tracked::Tracked, watches::Watches};
use crate::{
    backend::BackendError,
    redis::{
        declared::{Declared, DeclaredExchange},
        wire::{BindingTable, Keys},
    },
};

/// Everything that is changed by what arrives on the listening connection.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) loss: Loss,
    pub(crate) watches: Watches,
    pub(crate) fanouts: Fanouts,
    /// The bindings of exchanges, by key.
    pub(crate) bindings: Tracked<Arc<BindingTable>>,
    /// The declarations of queues, by key.
    pub(crate) queues: Tracked<Option<Arc<Declared>>>,
    /// The declarations of exchanges, by name. They are in one key.
    pub(crate) exchanges: Tracked<Option<DeclaredExchange>>,
    exchanges_key: Vec<u8>,
    /// A retry queue, or the list of all retry queues, has changed.
    pub(crate) delayed: Notify,
    delayed_key: Vec<u8>,
}

impl Arrivals {
    /// Nothing has arrived yet. Without notices of changes, what is read is kept for `lifetime`.
    pub(crate) fn new(keys: &Keys, lifetime: Option<Duration>) -> Self {
        Arrivals {
            loss: Loss::default(),
            watches: Watches::default(),
            fanouts: Fanouts::default(),
            bindings: Tracked::new(lifetime),
            queues: Tracked::new(lifetime),
            exchanges: Tracked::new(lifetime),
            exchanges_key: keys.exchanges().into_bytes(),
            delayed: Notify::new(),
            delayed_key: keys.delayed().into_bytes(),
        }
    }

    /// Takes what has arrived. It runs where the connection is read, and does not wait.
    pub(crate) fn push(&self, push: PushInfo) {
        match push.kind {
            PushKind::Invalidate => self.invalidated(push.data),
            PushKind::PMessage => self.pushed(push.data),
            PushKind::Disconnection => {
                self.loss.declare(BackendError::Unavailable("Redis has closed the connection".to_owned()));
            }
            _ => {}
        }
    }

    /// Keys have changed, or all may have: the database was emptied.
    fn invalidated(&self, mut data: Vec<Value>) {
        match data.pop() {
            Some(Value::Array(keys)) => keys.into_iter().for_each(|key| match key {
                Value::BulkString(key) => self.changed(&key),
                Value::SimpleString(key) => self.changed(key.as_bytes()),
                _ => {}
            }),
            _ => self.all_changed(),
        }
    }

    fn changed(&self, key: &[u8]) {
        self.watches.changed(key);
        if key == self.exchanges_key {
            self.exchanges.clear();
        } else if key.starts_with(&self.delayed_key) {
            self.delayed.notify_one();
        } else if let Ok(key) = std::str::from_utf8(key) {
            self.bindings.forget(key);
            self.queues.forget(key);
        }
    }

    fn all_changed(&self) {
        self.bindings.clear();
        self.queues.clear();
        self.exchanges.clear();
        self.watches.all_changed();
        self.delayed.notify_one();
    }

    /// A push of a message: its pattern, its channel, and itself.
    fn pushed(&self, data: Vec<Value>) {
        let mut parts = data.into_iter();
        let (Some(Value::BulkString(pattern)), Some(_), Some(Value::BulkString(raw))) =
            (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        if let Ok(pattern) = str::from_utf8(&pattern) {
            self.message(pattern, raw);
        }
    }

    /// A message of a fanout exchange.
    pub(super) fn message(&self, pattern: &str, raw: Vec<u8>) {
        for queue in self.fanouts.arrived(pattern, &Bytes::from(raw)) {
            self.watches.wake(&queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::redis::wire::KeyOptions;

    fn invalidate(arrivals: &Arrivals, key: Option<&str>) {
        let key = key.map(|key| Value::BulkString(key.as_bytes().to_vec()));
        let keys = key.map_or(Value::Nil, |key| Value::Array(vec![key]));
        arrivals.push(PushInfo { kind: PushKind::Invalidate, data: vec![keys] });
    }

    /// Tells what is known of an exchange, its bindings and a queue.
    fn known(arrivals: &Arrivals, keys: &Keys) -> [bool; 3] {
        let (bindings, queue) = (keys.bindings("x"), keys.queue("q"));
        [
            arrivals.exchanges.get("x").is_some(),
            arrivals.bindings.get(&bindings).is_some(),
            arrivals.queues.get(&queue).is_some(),
        ]
    }

    #[test]
    fn what_has_changed_is_forgotten() {
        let keys = Keys::new(KeyOptions::default());
        let (exchanges, bindings, queue) = (keys.exchanges(), keys.bindings("x"), keys.queue("q"));
        for (changed, left) in [
            (Some("another"), [true; 3]),
            (Some(&*exchanges), [false, true, true]),
            (Some(&*bindings), [true, false, true]),
            (Some(&*queue), [true, true, false]),
            (None, [false; 3]),
        ] {
            let arrivals = Arrivals::new(&keys, None);
            arrivals.exchanges.finish(&arrivals.exchanges.begin("x"), None);
            arrivals.bindings.finish(&arrivals.bindings.begin(&bindings), Arc::default());
            arrivals.queues.finish(&arrivals.queues.begin(&queue), None);
            assert_eq!(known(&arrivals, &keys), [true; 3]);
            invalidate(&arrivals, changed);
            assert_eq!(known(&arrivals, &keys), left, "{changed:?}");
        }
    }

    #[tokio::test]
    async fn what_is_delayed_elsewhere_is_looked_at() {
        let keys = Keys::new(KeyOptions::default());
        let arrivals = Arrivals::new(&keys, None);
        for (changed, wakes) in [(Some("q"), false), (Some("_amqp.delayed.later"), true), (None, true)] {
            invalidate(&arrivals, changed);
            let woken = timeout(Duration::ZERO, arrivals.delayed.notified()).await;
            assert_eq!(woken.is_ok(), wakes, "{changed:?}");
        }
    }

    #[test]
    fn a_connection_that_ends_is_told_as_lost() {
        let arrivals = Arrivals::new(&Keys::new(KeyOptions::default()), None);
        arrivals.push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert!(matches!(arrivals.loss.why(), Some(BackendError::Unavailable(_))));
    }
}
