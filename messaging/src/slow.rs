//! Routing keys whose messages the broker does not answer while it answers others: a quorum queue without a majority, say.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::link::Link;

/// How long messages of a key go another way, until one of them is tried beside others again.
const PAUSE: Duration = Duration::from_secs(10);

/// So many keys at the most.
const KEYS: usize = 1024;

/// Connections for what is slow: each opened when it is needed. The broker may read nothing from one in the end, so that slow
/// keys are spread over them.
#[derive(Clone)]
pub(crate) struct SlowLinks {
    links: Arc<[Link]>,
    next: Arc<AtomicUsize>,
}

impl SlowLinks {
    pub(crate) fn new(links: impl IntoIterator<Item = Link>) -> Self {
        SlowLinks { links: links.into_iter().collect(), next: Arc::default() }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Link] {
        &self.links
    }

    /// The one whose turn it is; `None` when there are none at all.
    pub(crate) fn next(&self) -> Option<&Link> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.links.get(number.checked_rem(self.links.len())?)
    }
}

/// The slow keys of one exchange.
#[derive(Default)]
pub(crate) struct Slow {
    /// Whether there are any: nearly always there are none.
    any: AtomicBool,
    /// Until when each is not tried beside others.
    keys: Mutex<HashMap<String, Instant>>,
}

impl Slow {
    /// Whether the next message with this key is to go another way. Once in a while one is not, to see whether it is answered.
    pub(crate) fn contains(&self, key: &str) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let mut keys = self.keys.lock();
        let Some(until) = keys.get_mut(key) else { return false };
        let now = Instant::now();
        let is_slow = now < *until;
        if !is_slow {
            *until = now + PAUSE;
        }
        is_slow
    }

    /// A message with this key was not answered in time, and later ones were.
    pub(crate) fn add(&self, key: &str) {
        let mut keys = self.keys.lock();
        if keys.len() < KEYS || keys.contains_key(key) {
            keys.insert(key.to_owned(), Instant::now() + PAUSE);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// A message with this key was answered. Whether it was slow.
    pub(crate) fn remove(&self, key: &str) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let mut keys = self.keys.lock();
        let was_slow = keys.remove(key).is_some();
        self.any.store(!keys.is_empty(), Ordering::Relaxed);
        was_slow
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_of_a_slow_key_is_tried_once_in_a_while_until_one_is_answered() {
        let slow = Slow::default();
        assert!(!slow.contains("k"));
        slow.add("k");
        assert!(slow.contains("k") && !slow.contains("other"));
        advance(PAUSE).await;
        assert_eq!([slow.contains("k"), slow.contains("k")], [false, true]);
        assert!(slow.remove("k") && !slow.remove("k"));
        assert!(!slow.contains("k"));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_the_keys_that_are_kept() {
        let slow = Slow::default();
        (0..2 * KEYS).for_each(|number| slow.add(&number.to_string()));
        assert_eq!(slow.keys.lock().len(), KEYS);
    }
}
