//! Routing keys for which the broker sends no confirms while it confirms others, for example a
//! quorum queue without a majority.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::connection::lazy_connection::LazyConnection;
use crate::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// How long messages of such a key use another channel before one is tried with the others again.
const PAUSE: Duration = Duration::from_secs(10);

/// The most keys that are kept.
const KEYS: usize = 1024;

/// Connections for slow keys, each opened when it is needed. The broker may stop reading one of
/// them, so slow keys are spread over several.
#[derive(Clone)]
pub(crate) struct SlowConnections {
    links: Arc<[LazyConnection]>,
    next: Arc<AtomicUsize>,
}

impl SlowConnections {
    pub(crate) fn new(links: impl IntoIterator<Item = LazyConnection>) -> Self {
        SlowConnections { links: links.into_iter().collect(), next: Arc::default() }
    }

    /// Returns all connections.
    pub(crate) fn all(&self) -> &[LazyConnection] {
        &self.links
    }

    /// Returns the next connection in turn; `None` when there are none.
    pub(crate) fn next(&self) -> Option<&LazyConnection> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.links.get(number.checked_rem(self.links.len())?)
    }
}

/// The slow keys of an exchange, each with the channel for its messages.
pub(crate) struct Slow<C> {
    /// Whether there are any slow keys, which is rare.
    any: AtomicBool,
    keys: Mutex<Keys<C>>,
}

struct Keys<C> {
    by_name: HashMap<String, SlowKey<C>>,
    /// The channel shared by all keys for which there is no room.
    shared: Option<C>,
    /// The time of the next search for unused keys.
    forget_at: Instant,
}

struct SlowKey<C> {
    /// The time until which the key is not tried with the others.
    until: Instant,
    channel: C,
}

impl<C> Default for Slow<C> {
    fn default() -> Self {
        let keys = Keys { by_name: HashMap::new(), shared: None, forget_at: Instant::now() };
        Slow { any: AtomicBool::default(), keys: Mutex::new(keys) }
    }
}

impl<C: Clone> Slow<C> {
    /// Whether the next message with this key uses another channel. Now and then one does not, to
    /// find out whether it is answered.
    #[inline]
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.any.load(Ordering::Relaxed) && self.takes_apart(key)
    }

    #[cold]
    fn takes_apart(&self, key: &str) -> bool {
        let now = Instant::now();
        let mut keys = self.keys.lock();
        keys.forget_in_turn(now);
        self.any.store(!keys.by_name.is_empty(), Ordering::Relaxed);
        let Some(SlowKey { until, .. }) = keys.by_name.get_mut(key) else { return false };
        let is_slow = now < *until;
        if !is_slow {
            *until = now + PAUSE;
        }
        is_slow
    }

    /// Returns the channel for messages with this key, while it is slow.
    pub(crate) fn channel(&self, key: &str) -> Option<C> {
        self.keys.lock().by_name.get(key).map(|known| known.channel.clone())
    }

    /// Notes that a message with this key was not answered in time though later ones were; returns
    /// the channel for it, which is `another` when there is none yet.
    pub(crate) fn add(&self, key: &str, another: impl FnOnce() -> C) -> C {
        let now = Instant::now();
        let until = now + PAUSE;
        let mut keys = self.keys.lock();
        if let Some(known) = keys.by_name.get_mut(key) {
            known.until = until;
            return known.channel.clone();
        }
        if keys.by_name.len() >= KEYS {
            keys.forget(now);
        }
        if keys.by_name.len() >= KEYS {
            return keys.shared.get_or_insert_with(another).clone();
        }
        let channel = another();
        keys.by_name.insert(key.to_owned(), SlowKey { until, channel: channel.clone() });
        self.any.store(true, Ordering::Relaxed);
        channel
    }

    /// Notes that a message with this key was answered.
    #[inline]
    pub(crate) fn remove(&self, key: &str) {
        if self.any.load(Ordering::Relaxed) {
            self.remove_known(key);
        }
    }

    #[cold]
    fn remove_known(&self, key: &str) {
        let keys = &mut *self.keys.lock();
        keys.by_name.remove(key);
        keys.shared.take_if(|_| keys.by_name.is_empty());
        self.any.store(!keys.by_name.is_empty(), Ordering::Relaxed);
    }
}

impl<C> Keys<C> {
    /// Forgets keys that were due for another try so long ago that they seem unused.
    fn forget_in_turn(&mut self, now: Instant) {
        if now >= self.forget_at {
            self.forget_at = now + PAUSE;
            self.forget(now.checked_sub(PAUSE).unwrap_or(now));
        }
    }

    /// Forgets keys that were due for another try by then.
    fn forget(&mut self, due: Instant) {
        self.by_name.retain(|_, key| due < key.until);
        self.shared.take_if(|_| self.by_name.len() < KEYS);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn add(slow: &Slow<Arc<()>>, keys: std::ops::Range<usize>) -> Vec<Arc<()>> {
        keys.map(|number| slow.add(&number.to_string(), Arc::default)).collect()
    }

    fn kept(slow: &Slow<Arc<()>>) -> usize {
        slow.keys.lock().by_name.len()
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_a_slow_key_is_tried_once_in_a_while_until_one_is_answered() {
        let slow = Slow::default();
        assert!(!slow.contains("k"));
        slow.add("k", || 1);
        assert!(slow.contains("k") && !slow.contains("other"));
        assert_eq!((slow.channel("k"), slow.channel("other")), (Some(1), None));
        advance(PAUSE).await;
        assert_eq!([slow.contains("k"), slow.contains("k")], [false, true]);
        assert_eq!(slow.add("k", || 2), 1);
        slow.remove("k");
        assert!(!slow.contains("k") && slow.channel("k").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_the_keys_that_are_kept_and_those_beyond_share_a_way() {
        let slow = Slow::default();
        let channels = add(&slow, 0..2 * KEYS);
        assert_eq!(kept(&slow), KEYS);
        assert!(!Arc::ptr_eq(&channels[0], &channels[1]));
        assert!(channels[KEYS..].iter().all(|channel| Arc::ptr_eq(channel, &channels[KEYS])));
        (0..2 * KEYS).for_each(|number| slow.remove(&number.to_string()));
        assert!(channels[..=KEYS].iter().enumerate().all(|(number, channel)| {
            let users = if number == KEYS { KEYS } else { 1 };
            Arc::strong_count(channel) == users
        }));
    }

    #[tokio::test(start_paused = true)]
    async fn those_nobody_publishes_with_any_more_make_room() {
        let slow = Slow::default();
        add(&slow, 0..KEYS);
        advance(PAUSE / 2).await;
        add(&slow, 0..3);
        advance(PAUSE / 2).await;
        add(&slow, KEYS..KEYS + 1);
        assert_eq!(kept(&slow), 4);
        assert!(slow.contains(&KEYS.to_string()) && slow.contains("2"));
    }

    #[tokio::test(start_paused = true)]
    async fn those_nobody_publishes_with_any_more_are_forgotten() {
        let slow = Slow::default();
        let channels = add(&slow, 0..2);
        assert!(slow.contains("0"));
        advance(2 * PAUSE).await;
        assert!(!slow.contains("other"));
        assert_eq!(kept(&slow), 0);
        assert!(!slow.any.load(Ordering::Relaxed));
        assert!(channels.iter().all(|channel| Arc::strong_count(channel) == 1));
    }
}
