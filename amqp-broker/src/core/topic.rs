//! Topic patterns in a trie of words: `*` stands for one word, `#` for any number of them, none included.
//!
//! A key is matched word by word against all patterns at once, as an automaton with a set of states would: a node is in the
//! set at most once, so the work is bounded by words times nodes whatever the patterns are.

use std::collections::HashMap;

const ROOT: usize = 0;

/// Values under topic patterns.
#[derive(Debug)]
pub(crate) struct Trie<V> {
    nodes: Vec<Node<V>>,
    free: Vec<usize>,
    /// The states before and after a word; kept for their memory.
    current: Vec<usize>,
    next: Vec<usize>,
    step: u64,
}

#[derive(Debug)]
struct Node<V> {
    words: HashMap<Box<[u8]>, usize>,
    one: Option<usize>,
    many: Option<usize>,
    /// Whether this node was entered by `#`, and so stays a state for every word.
    is_many: bool,
    values: Vec<V>,
    /// The step in which this node was last made a state.
    seen: u64,
}

impl<V> Node<V> {
    fn new(is_many: bool) -> Self {
        Node { words: HashMap::new(), one: None, many: None, is_many, values: Vec::new(), seen: 0 }
    }

    fn is_bare(&self) -> bool {
        self.words.is_empty() && self.one.is_none() && self.many.is_none() && self.values.is_empty()
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Trie {
            nodes: vec![Node::new(false)],
            free: Vec::new(),
            current: Vec::new(),
            next: Vec::new(),
            step: 0,
        }
    }
}

impl<V: Copy + PartialEq> Trie<V> {
    /// Puts `value` under `pattern`.
    pub(crate) fn insert(&mut self, pattern: &[u8], value: V) {
        let mut at = ROOT;
        for word in words(pattern) {
            at = self.child(at, word).unwrap_or_else(|| self.grow(at, word));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.values.push(value);
        }
    }

    /// Takes one `value` from under `pattern`.
    pub(crate) fn remove(&mut self, pattern: &[u8], value: V) {
        let (mut at, mut path) = (ROOT, Vec::new());
        for word in words(pattern) {
            let Some(next) = self.child(at, word) else { return };
            path.push((at, word, next));
            at = next;
        }
        if let Some(node) = self.nodes.get_mut(at)
            && let Some(index) = node.values.iter().position(|held| *held == value)
        {
            node.values.swap_remove(index);
        }
        self.prune(&path);
    }

    /// Calls `found` with each value whose pattern matches `key`; with one that is under several patterns, several times.
    pub(crate) fn matches(&mut self, key: &[u8], mut found: impl FnMut(V)) {
        let (mut current, mut next) = (std::mem::take(&mut self.current), std::mem::take(&mut self.next));
        current.clear();
        self.step += 1;
        self.enter(ROOT, &mut current);
        for word in words(key) {
            self.step += 1;
            next.clear();
            for &at in &current {
                let Some(node) = self.nodes.get(at) else { continue };
                let (by_word, one, stays) = (node.words.get(word).copied(), node.one, node.is_many);
                for state in [by_word, one, stays.then_some(at)].into_iter().flatten() {
                    self.enter(state, &mut next);
                }
            }
            std::mem::swap(&mut current, &mut next);
        }
        for node in current.iter().filter_map(|&at| self.nodes.get(at)) {
            node.values.iter().for_each(|&value| found(value));
        }
        (self.current, self.next) = (current, next);
    }

    /// Makes a node a state, and with it the `#` below, which may stand for no word at all.
    fn enter(&mut self, at: usize, states: &mut Vec<usize>) {
        let mut entered = Some(at);
        while let Some(at) = entered
            && let Some(node) = self.nodes.get_mut(at)
            && node.seen != self.step
        {
            node.seen = self.step;
            states.push(at);
            entered = node.many;
        }
    }

    fn child(&self, at: usize, word: &[u8]) -> Option<usize> {
        let node = self.nodes.get(at)?;
        match word {
            b"*" => node.one,
            b"#" => node.many,
            word => node.words.get(word).copied(),
        }
    }

    fn grow(&mut self, at: usize, word: &[u8]) -> usize {
        let node = Node::new(word == b"#");
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.nodes.get_mut(index) {
                    *slot = node;
                }
                index
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        if let Some(parent) = self.nodes.get_mut(at) {
            match word {
                b"*" => parent.one = Some(index),
                b"#" => parent.many = Some(index),
                word => {
                    parent.words.insert(word.into(), index);
                }
            }
        }
        index
    }

    /// Takes away what the end of `path`, steps of parent, word and child, no longer needs.
    fn prune(&mut self, path: &[(usize, &[u8], usize)]) {
        for &(parent, word, child) in path.iter().rev() {
            if !self.nodes.get(child).is_some_and(Node::is_bare) {
                return;
            }
            if let Some(parent) = self.nodes.get_mut(parent) {
                match word {
                    b"*" => parent.one = None,
                    b"#" => parent.many = None,
                    word => {
                        parent.words.remove(word);
                    }
                }
            }
            self.free.push(child);
        }
    }
}

/// The words of a key or pattern. The empty key has none, as with RabbitMQ.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.split(|&octet| octet == b'.').filter(|_| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, written down.
    fn naive(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&b"#", pattern)), None) => naive(pattern, key),
            (Some((&b"#", rest)), Some((_, key_rest))) => naive(rest, key) || naive(pattern, key_rest),
            (Some((&b"*", pattern)), Some((_, key))) => naive(pattern, key),
            (Some((word, pattern)), Some((key_word, key))) => word == key_word && naive(pattern, key),
            _ => false,
        }
    }

    fn matched(trie: &mut Trie<usize>, key: &str) -> Vec<usize> {
        let mut found = Vec::new();
        trie.matches(key.as_bytes(), |value| found.push(value));
        found.sort_unstable();
        found
    }

    fn text(words: &[&str]) -> String {
        words.join(".")
    }

    proptest! {
        #[test]
        fn it_matches_as_the_definition_says(
            patterns in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#", ""]), 0..5), 1..8),
            key in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 0..6),
            removed in prop::collection::vec(any::<bool>(), 8),
        ) {
            let mut trie = Trie::default();
            for (index, pattern) in patterns.iter().enumerate() {
                trie.insert(text(pattern).as_bytes(), index);
            }
            for (index, pattern) in patterns.iter().enumerate().filter(|(index, _)| removed[*index]) {
                trie.remove(text(pattern).as_bytes(), index);
            }
            let key = text(&key);
            let expected: Vec<_> = (0..patterns.len())
                .filter(|&index| !removed[index])
                .filter(|&index| {
                    let pattern = text(&patterns[index]);
                    naive(
                        &words(pattern.as_bytes()).collect::<Vec<_>>(),
                        &words(key.as_bytes()).collect::<Vec<_>>(),
                    )
                })
                .collect();
            prop_assert_eq!(matched(&mut trie, &key), expected);
        }
    }

    #[test]
    fn many_hashes_against_a_long_key_stay_cheap() {
        let mut trie = Trie::default();
        trie.insert("#.a.".repeat(40).as_bytes(), 1);
        trie.insert("#.a.".repeat(40).trim_end_matches('.').as_bytes(), 2);
        assert_eq!(matched(&mut trie, "a.".repeat(127).trim_end_matches('.')), [2]);
    }

    #[test]
    fn removing_everything_leaves_the_root_alone() {
        let mut trie = Trie::default();
        for pattern in ["a.*.#", "a.b", "#"] {
            trie.insert(pattern.as_bytes(), 1);
        }
        for pattern in ["a.*.#", "a.b", "#", "never.there"] {
            trie.remove(pattern.as_bytes(), 1);
        }
        assert_eq!(trie.nodes.len() - trie.free.len(), 1);
        assert_eq!(matched(&mut trie, "a.b"), [0usize; 0]);
    }
}
