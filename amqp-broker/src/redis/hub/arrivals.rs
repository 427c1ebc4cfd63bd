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
