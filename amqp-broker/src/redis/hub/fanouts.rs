//! The queues of this process that are bound to fanout exchanges.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::{
    buffer::{Buffer, Buffered},
    recent::Recent,
};
use crate::backend::Binding;
use crate::sync::Mutex;

/// The most bytes that wait for one queue.
const MOST_BYTES: usize = 16 << 20;

/// Queues that are bound to fanout exchanges. Their messages arrive on channels of Redis, at every
/// process that subscribes; each queue of this process gets its own copy.
#[derive(Debug, Default)]
pub(crate) struct Fanouts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<String, Local>,
    /// The queues that get what arrives for a pattern of channels, with the number of bindings.
    patterns: HashMap<String, BTreeMap<String, usize>>,
}

#[derive(Debug, Default)]
struct Local {
    buffer: Buffer,
    recent: Recent,
    links: BTreeSet<u64>,
    bindings: HashMap<Binding, Vec<String>>,
}

impl Fanouts {
    /// Adds a binding, and what it listens to; returns the patterns that nobody listened to.
    pub(crate) fn bind(&self, link: u64, binding: &Binding, patterns: Vec<String>) -> Vec<String> {
        let mut state = self.state.lock();
        let local = state.queues.entry(binding.queue.clone()).or_default();
        local.links.insert(link);
        if local.bindings.insert(binding.clone(), patterns.clone()).is_some() {
            return Vec::new();
        }
        let mut new = Vec::new();
        for pattern in patterns {
            let queues = state.patterns.entry(pattern.clone()).or_default();
            if queues.is_empty() {
                new.push(pattern);
            }
            *queues.entry(binding.queue.clone()).or_default() += 1;
        }
        new
    }

    /// Removes a binding; returns the patterns that nobody listens to any more.
    pub(crate) fn unbind(&self, binding: &Binding) -> Vec<String> {
        let mut state = self.state.lock();
        let Some(local) = state.queues.get_mut(&binding.queue) else { return Vec::new() };
        let patterns = local.bindings.remove(binding).unwrap_or_default();
        if local.bindings.is_empty() {
            state.queues.remove(&binding.queue);
        }
        state.drop_patterns(&binding.queue, patterns)
    }

    /// Removes a queue; returns its bindings, and the patterns that nobody listens to any more.
    pub(crate) fn remove(&self, queue: &str) -> (Vec<Binding>, Vec<String>) {
        let mut state = self.state.lock();
        let Some(local) = state.queues.remove(queue) else { return Default::default() };
        let (bindings, patterns): (Vec<_>, Vec<_>) = local.bindings.into_iter().unzip();
        (bindings, state.drop_patterns(queue, patterns.concat()))
    }

    /// The link is gone; returns the queues that no other link has bound or watches.
    pub(crate) fn leave(&self, link: u64) -> Vec<String> {
        let mut state = self.state.lock();
        let mut left = Vec::new();
        for (queue, local) in &mut state.queues {
            if local.links.remove(&link) && local.links.is_empty() {
                left.push(queue.clone());
            }
        }
        left
    }

    /// A link's last consumer has left a queue; `true` when no other link has bound or watches it.
    pub(crate) fn leave_one(&self, link: u64, queue: &str) -> bool {
        let mut state = self.state.lock();
        let Some(local) = state.queues.get_mut(queue) else { return false };
        local.links.remove(&link);
        local.links.is_empty()
    }

    /// All bindings to an exchange.
    pub(crate) fn bindings_of(&self, exchange: &str) -> Vec<Binding> {
        let state = self.state.lock();
        let bindings = state.queues.values().flat_map(|local| local.bindings.keys());
        bindings.filter(|binding| binding.exchange == exchange).cloned().collect()
    }

    /// Those of some patterns that nobody listens to.
    pub(crate) fn unused(&self, patterns: &[String]) -> Vec<String> {
        let state = self.state.lock();
        patterns.iter().filter(|pattern| !state.patterns.contains_key(*pattern)).cloned().collect()
    }

    /// A link shares a queue that may be here.
    pub(crate) fn join(&self, link: u64, queue: &str) {
        if let Some(local) = self.state.lock().queues.get_mut(queue) {
            local.links.insert(link);
        }
    }

    /// Gives a message to the queues of a pattern; returns their names.
    pub(crate) fn arrived(&self, pattern: &str, raw: &Bytes) -> Vec<String> {
        let mut state = self.state.lock();
        let State { queues, patterns } = &mut *state;
        let names: Vec<_> = patterns.get(pattern).into_iter().flat_map(BTreeMap::keys).cloned().collect();
        for name in &names {
            if let Some(local) = queues.get_mut(name)
                && (local.listens_once() || local.recent.is_new(pattern, raw))
            {
                local.buffer.push(name, raw.clone(), MOST_BYTES);
            }
        }
        names
    }

    /// All patterns that are listened to.
    pub(crate) fn patterns(&self) -> Vec<String> {
        self.state.lock().patterns.keys().cloned().collect()
    }

    /// Takes a queue's messages, at most so many.
    pub(crate) fn take(&self, queue: &str, most: usize) -> Vec<Buffered> {
        let mut state = self.state.lock();
        let Some(local) = state.queues.get_mut(queue) else { return Vec::new() };
        std::iter::from_fn(|| local.buffer.pop()).take(most).collect()
    }

    /// Returns a message to the front of its queue, if the queue is still here.
    pub(crate) fn put_back(&self, queue: &str, raw: Bytes) {
        if let Some(local) = self.state.lock().queues.get_mut(queue) {
            local.buffer.push_front(raw);
        }
    }

    /// How many messages a queue holds here; `None` when it is not here.
    pub(crate) fn len(&self, queue: &str) -> Option<usize> {
        self.state.lock().queues.get(queue).map(|local| local.buffer.len())
    }

    /// Removes a queue's messages; returns their number.
    pub(crate) fn purge(&self, queue: &str) -> usize {
        let mut state = self.state.lock();
        let Some(local) = state.queues.get_mut(queue) else { return 0 };
        let purged = local.buffer.len();
        local.buffer.clear();
        purged
    }
}

impl Local {
    /// Whether there is one pattern, so that nothing can arrive twice.
    fn listens_once(&self) -> bool {
        self.bindings.values().map(Vec::len).sum::<usize>() == 1
    }
}

impl State {
    fn drop_patterns(&mut self, queue: &str, patterns: Vec<String>) -> Vec<String> {
        let mut unused = Vec::new();
        for pattern in patterns {
            let Some(queues) = self.patterns.get_mut(&pattern) else { continue };
            match queues.get_mut(queue) {
                Some(bindings) if *bindings > 1 => *bindings -= 1,
                _ => _ = queues.remove(queue),
            }
            if queues.is_empty() {
                self.patterns.remove(&pattern);
                unused.push(pattern);
            }
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(queue: &str, key: &str) -> Binding {
        Binding { exchange: "x".to_owned(), queue: queue.to_owned(), routing_key: key.to_owned() }
    }

    fn patterns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_queue_gets_its_copy() {
        let fanouts = Fanouts::default();
        assert_eq!(fanouts.bind(1, &binding("a", ""), patterns(&["p"])), ["p"]);
        assert!(fanouts.bind(1, &binding("b", ""), patterns(&["p"])).is_empty(), "it is subscribed already");
        assert!(fanouts.bind(1, &binding("b", ""), patterns(&["p"])).is_empty(), "the same binding again");
        assert_eq!(fanouts.arrived("p", &Bytes::from_static(b"m")), ["a", "b"]);
        assert_eq!(fanouts.take("a", 9).len(), 1);
        assert_eq!(fanouts.take("b", 9).len(), 1);
    }

    #[test]
    fn a_pattern_is_left_with_its_last_queue() {
        let fanouts = Fanouts::default();
        fanouts.bind(1, &binding("a", ""), patterns(&["p"]));
        fanouts.bind(2, &binding("b", ""), patterns(&["p"]));
        fanouts.bind(2, &binding("b", "k"), patterns(&["p"]));
        assert!(fanouts.remove("a").1.is_empty());
        assert!(fanouts.unbind(&binding("b", "k")).is_empty());
        assert_eq!(fanouts.unbind(&binding("b", "")), ["p"]);
        assert_eq!(fanouts.len("b"), None);
    }

    #[test]
    fn a_queue_is_left_with_its_last_link() {
        let fanouts = Fanouts::default();
        fanouts.bind(1, &binding("a", ""), patterns(&["p"]));
        fanouts.join(2, "a");
        assert!(fanouts.leave(1).is_empty());
        assert_eq!(fanouts.leave(2), ["a"]);
        assert_eq!(fanouts.remove("a"), (vec![binding("a", "")], patterns(&["p"])));
    }
}
