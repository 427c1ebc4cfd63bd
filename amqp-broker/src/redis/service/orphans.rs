//! What links leave behind that ended without being closed.

use tokio::sync::Notify;

use crate::{
    backend::Binding,
    redis::declared::{Holder, Owner},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Claims to return, bindings to remove, and so on, as soon as Redis can be reached.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    left: Mutex<Left>,
    more: Notify,
    ended: AtomicBool,
}

/// What a link left behind.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The tags of its claims, the first claim first.
    pub(super) tags: Vec<String>,
    /// Its bindings to fanout exchanges.
    pub(super) bindings: Vec<Binding>,
    /// The queues of these bindings.
    pub(super) fanout_queues: Vec<String>,
    /// What it listened to alone.
    pub(super) patterns: Vec<String>,
    /// Its queues that are exclusive or expire.
    pub(super) queues: Vec<(String, Owner)>,
    /// Its consumers: whose they were, of which queue, and how many.
    pub(super) consumers: Vec<(Holder, String, u64)>,
}

impl Orphans {
    pub(super) fn add(&self, left: Left) {
        let mut all = self.left.lock();
        all.tags.extend(left.tags);
        all.bindings.extend(left.bindings);
        all.fanout_queues.extend(left.fanout_queues);
        all.patterns.extend(left.patterns);
        all.queues.extend(left.queues);
        all.consumers.extend(left.consumers);
        let empty = all.is_empty();
        drop(all);
        if !empty {
            self.more.notify_one();
        }
    }

    /// Nothing is left behind any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.more.notify_one();
    }

    /// Waits for something to clear up, and takes it; `None` when there is nothing and will be
    /// nothing. It is cancel-safe.
    pub(super) async fn next(&self) -> Option<Left> {
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let left = std::mem::take(&mut *self.left.lock());
            if !left.is_empty() {
                return Some(left);
            }
            if ended {
                return None;
            }
            self.more.notified().await;
        }
    }
}

impl Left {
    fn is_empty(&self) -> bool {
        self.tags.is_empty()
            && self.bindings.is_empty()
            && self.fanout_queues.is_empty()
            && self.patterns.is_empty()
            && self.queues.is_empty()
            && self.consumers.is_empty()
    }
}
