//! What is read of Redis often, and kept while it is unchanged.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::sync::Mutex;

/// The most values that are kept. Beyond that all are read again.
const MOST: usize = 10_000;

/// Values that Redis holds, by key. Redis tells when one changes, so that a value that is kept is
/// the current one but for the moment that the news takes. Where Redis cannot tell, values are kept
/// for a fixed time.
#[derive(Debug)]
pub(crate) struct Tracked<T> {
    state: Mutex<State<T>>,
    lifetime: Option<Duration>,
}

#[derive(Debug)]
struct State<T> {
    slots: HashMap<String, Slot<T>>,
    readings: u64,
}

#[derive(Debug)]
enum Slot<T> {
    /// It is being read; the number tells whether it changed meanwhile.
    Reading(u64),
    Known(T, Instant),
}

/// A value that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    key: String,
    number: u64,
}

impl<T: Clone> Tracked<T> {
    /// Keeps values until they change, or for a lifetime.
    pub(crate) fn new(lifetime: Option<Duration>) -> Self {
        Tracked { state: Mutex::new(State { slots: HashMap::new(), readings: 0 }), lifetime }
    }

    /// The value, if it is known.
    pub(crate) fn get(&self, key: &str) -> Option<T> {
        match self.state.lock().slots.get(key)? {
            Slot::Known(_, since) if self.lifetime.is_some_and(|lifetime| since.elapsed() > lifetime) => None,
            Slot::Known(value, _) => Some(value.clone()),
            Slot::Reading(_) => None,
        }
    }

    /// Begins to read a value. What changes from now on is noticed.
    pub(crate) fn begin(&self, key: &str) -> Reading {
        let mut state = self.state.lock();
        if state.slots.len() >= MOST {
            state.slots.clear();
        }
        state.readings += 1;
        let number = state.readings;
        state.slots.insert(key.to_owned(), Slot::Reading(number));
        Reading { key: key.to_owned(), number }
    }

    /// Keeps what was read, unless it has changed meanwhile.
    pub(crate) fn finish(&self, reading: &Reading, value: T) {
        if let Some(slot) = self.state.lock().slots.get_mut(&reading.key)
            && matches!(slot, Slot::Reading(number) if *number == reading.number)
        {
            *slot = Slot::Known(value, Instant::now());
        }
    }

    /// The keys of all values.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.state.lock().slots.keys().cloned().collect()
    }

    /// Forgets a value that has changed.
    pub(crate) fn forget(&self, key: &str) {
        self.state.lock().slots.remove(key);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.state.lock().slots.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_changes_while_it_is_read_is_not_kept() {
        let values = Tracked::new(None);
        let reading = values.begin("k");
        values.forget("k");
        values.finish(&reading, 1);
        assert_eq!(values.get("k"), None);

        let old = values.begin("k");
        let new = values.begin("k");
        values.finish(&new, 3);
        values.finish(&old, 2);
        assert_eq!(values.get("k"), Some(3));
    }

    #[test]
    fn where_nobody_tells_of_changes_a_value_ages() {
        let values = Tracked::new(Some(Duration::ZERO));
        values.finish(&values.begin("k"), 1);
        std::thread::yield_now();
        assert_eq!(values.get("k"), None);
    }
}
