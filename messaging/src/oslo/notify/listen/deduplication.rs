//! Deduplication: a notification is handled once, even if it is delivered twice.

use std::{collections::HashMap, hash::BuildHasherDefault, sync::Arc};

use tokio::sync::OwnedMutexGuard;

use crate::oslo::wire::{
    duplicates::{Duplicates, RepeatWindow},
    fingerprint::Fingerprint,
    id::IdHasher,
};
use crate::sync::Mutex;

/// The notifications of a queue that were handled recently, and those that are being handled.
pub(super) struct Deduplication(Mutex<State>);

struct State {
    handled: Duplicates,
    at_work: HashMap<Fingerprint, Arc<tokio::sync::Mutex<()>>, BuildHasherDefault<IdHasher>>,
}

/// The right to handle a notification.
///
/// # On drop
/// Another delivery of it may be handled, unless this one was [`handled`](Self::handled).
pub(super) struct Entry<'a> {
    deduplication: &'a Deduplication,
    id: Fingerprint,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Deduplication {
    /// Creates a memory of this size.
    pub(super) fn new(window: RepeatWindow) -> Self {
        let state = State { handled: Duplicates::new(window), at_work: HashMap::default() };
        Deduplication(Mutex::new(state))
    }

    /// Waits until nobody handles this id; returns `None` if it was handled.
    pub(super) async fn enter(&self, id: Fingerprint) -> Option<Entry<'_>> {
        let lock = {
            let mut state = self.0.lock();
            if state.handled.contains(id) {
                return None;
            }
            state.at_work.entry(id).or_default().clone()
        };
        let entry = Entry { deduplication: self, id, guard: Some(lock.lock_owned().await) };
        let handled = self.0.lock().handled.contains(id);
        (!handled).then_some(entry)
    }

    /// Whether this id was handled.
    pub(super) fn was_handled(&self, id: Fingerprint) -> bool {
        self.0.lock().handled.contains(id)
    }

    /// Notes that this id has been handled.
    pub(super) fn note(&self, id: Fingerprint) {
        self.0.lock().handled.is_repeated(id);
    }
}

impl Entry<'_> {
    /// Notes that it has been handled, so that further deliveries are not.
    pub(super) fn handled(self) {
        self.deduplication.note(self.id);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut state = self.deduplication.0.lock();
        self.guard = None;
        // The last one removes the entry: the lock is only cloned here, under the other lock.
        if state.at_work.get(&self.id).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            state.at_work.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_second_delivery_waits_for_the_first_and_is_handled_only_where_that_failed() {
        let deduplication = Deduplication::new(RepeatWindow::default());
        for fails in [true, false] {
            let first = deduplication.enter(Fingerprint::of("a")).await.unwrap();
            let mut second = Box::pin(deduplication.enter(Fingerprint::of("a")));
            assert!((&mut second).now_or_never().is_none());
            assert!(deduplication.enter(Fingerprint::of("b")).await.is_some());
            if fails {
                drop(first);
                drop(second.await.unwrap());
            } else {
                first.handled();
                assert!(second.await.is_none());
            }
            assert!(deduplication.0.lock().at_work.is_empty());
        }
        assert!(
            deduplication.enter(Fingerprint::of("a")).await.is_none()
                && deduplication.was_handled(Fingerprint::of("a"))
        );
    }

    #[tokio::test]
    async fn one_that_stops_waiting_leaves_nothing_behind() {
        let deduplication = Deduplication::new(RepeatWindow::default());
        let first = deduplication.enter(Fingerprint::of("a")).await.unwrap();
        let mut second = Box::pin(deduplication.enter(Fingerprint::of("a")));
        assert!((&mut second).now_or_never().is_none());
        drop(second);
        drop(first);
        assert!(deduplication.0.lock().at_work.is_empty());
    }
}
