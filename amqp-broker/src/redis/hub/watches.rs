//! Who is woken when a queue gets messages.
//!
//! Waking removes nothing from Redis. It works by Redis's notices of changed keys (`CLIENT
//! TRACKING`): whoever has read a key is told once that it has changed. So a queue is looked at
//! whenever a link has found too little in it; from then on its next change is noticed.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::Notify;

use crate::backend::Wakes;
use crate::sync::Mutex;

/// The watched queues of all links.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<String, Watched>,
    /// The queue of each list.
    lists: HashMap<Vec<u8>, String>,
    /// The queues to look at next.
    wanted: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Watched {
    links: HashMap<u64, Wakes>,
    lists: Vec<String>,
    /// Whether the next change of the queue will be noticed.
    armed: bool,
}

/// A queue to look at: its name and its lists.
pub(crate) type Look = (String, Vec<String>);

impl Watches {
    /// Begins to wake a link for a queue. It is woken soon if the queue has messages.
    pub(crate) fn watch(&self, queue: &str, lists: Vec<String>, link: u64, wakes: Wakes) {
        let mut state = self.state.lock();
        for list in &lists {
            state.lists.insert(list.clone().into_bytes(), queue.to_owned());
        }
        let watched = state.queues.entry(queue.to_owned()).or_default();
        watched.lists = lists;
        watched.links.insert(link, wakes);
        watched.armed = false;
        state.wanted.insert(queue.to_owned());
        drop(state);
        self.wanted.notify_one();
    }

    /// Ends what [`watch`](Self::watch) began.
    pub(crate) fn unwatch(&self, queue: &str, link: u64) {
        self.state.lock().unwatch(queue, link);
    }

    /// Tells whether a link watches a queue.
    pub(crate) fn is_watched(&self, queue: &str, link: u64) -> bool {
        self.state.lock().queues.get(queue).is_some_and(|watched| watched.links.contains_key(&link))
    }

    /// Ends all watches of a link.
    pub(crate) fn forget(&self, link: u64) {
        let mut state = self.state.lock();
        let queues: Vec<_> = state.queues.keys().cloned().collect();
        queues.iter().for_each(|queue| state.unwatch(queue, link));
    }

    /// Has a queue looked at, because a link found too little in it.
    pub(crate) fn arm(&self, queue: &str) {
        let mut state = self.state.lock();
        if state.queues.get(queue).is_some_and(|watched| !watched.armed) {
            state.wanted.insert(queue.to_owned());
            drop(state);
            self.wanted.notify_one();
        }
    }

    /// Waits for queues to look at. They count as armed from now on, because whatever changes
    /// before they are read is seen by reading. It is cancel-safe.
    pub(crate) async fn next(&self) -> Vec<Look> {
        loop {
            let looks = self.state.lock().take();
            if !looks.is_empty() {
                return looks;
            }
            self.wanted.notified().await;
        }
    }

    /// All armed queues, for a look in case that a notice was lost.
    pub(crate) fn armed(&self) -> Vec<Look> {
        let state = self.state.lock();
        let armed = state.queues.iter().filter(|(_, watched)| watched.armed);
        armed.map(|(queue, watched)| (queue.clone(), watched.lists.clone())).collect()
    }

    /// A key has changed.
    pub(crate) fn changed(&self, key: &[u8]) {
        let mut state = self.state.lock();
        if let Some(queue) = state.lists.get(key).cloned() {
            state.wake(&queue);
        }
    }

    /// Any key may have changed.
    pub(crate) fn all_changed(&self) {
        self.state.lock().queues.iter_mut().for_each(|(queue, watched)| watched.wake(queue));
    }

    /// Tells whether the next change of a queue is to be noticed; `None` when nobody watches it.
    pub(crate) fn is_armed(&self, queue: &str) -> Option<bool> {
        self.state.lock().queues.get(queue).map(|watched| watched.armed)
    }

    /// Wakes whoever watches a queue.
    pub(crate) fn wake(&self, queue: &str) {
        self.state.lock().wake(queue);
    }

    /// Tells whoever watches a queue that it is deleted.
    pub(crate) fn deleted(&self, queue: &str) {
        if let Some(watched) = self.state.lock().queues.get(queue) {
            watched.links.values().for_each(|wakes| wakes.deleted(queue));
        }
    }
}

impl State {
    fn unwatch(&mut self, queue: &str, link: u64) {
        let Some(watched) = self.queues.get_mut(queue) else { return };
        watched.links.remove(&link);
        if watched.links.is_empty() {
            for list in &watched.lists {
                self.lists.remove(list.as_bytes());
            }
            self.queues.remove(queue);
            self.wanted.remove(queue);
        }
    }

    fn take(&mut self) -> Vec<Look> {
        let mut looks = Vec::new();
        for queue in std::mem::take(&mut self.wanted) {
            if let Some(watched) = self.queues.get_mut(&queue) {
                watched.armed = true;
                looks.push((queue, watched.lists.clone()));
            }
        }
        looks
    }

    fn wake(&mut self, queue: &str) {
        if let Some(watched) = self.queues.get_mut(queue) {
            watched.wake(queue);
        }
    }
}

impl Watched {
    fn wake(&mut self, queue: &str) {
        self.armed = false;
        self.links.values().for_each(|wakes| wakes.wake(queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_once_until_the_queue_is_looked_at_again() {
        let (watches, wakes) = (Watches::default(), Wakes::default());
        watches.watch("q", vec!["q".to_owned(), "q3".to_owned()], 1, wakes.clone());
        assert_eq!(watches.next().await.len(), 1);
        watches.changed(b"other");
        watches.arm("q");
        assert_eq!(watches.armed().len(), 1, "an armed queue needs no other look");
        watches.changed(b"q3");
        assert!(wakes.next().await.queues.contains("q"));
        assert!(watches.armed().is_empty());
        watches.arm("q");
        assert_eq!(watches.next().await[0].0, "q");
    }

    #[tokio::test]
    async fn a_link_that_is_gone_is_not_woken() {
        let (watches, [one, other]) = (Watches::default(), [Wakes::default(), Wakes::default()]);
        watches.watch("q", vec!["q".to_owned()], 1, one.clone());
        watches.watch("q", vec!["q".to_owned()], 2, other.clone());
        watches.forget(1);
        watches.all_changed();
        assert!(other.next().await.queues.contains("q"));
        watches.unwatch("q", 2);
        watches.changed(b"q");
        assert!(watches.armed().is_empty());
    }
}
