//! Topic patterns in a trie of words: `*` matches one word, `#` matches any number of words, even
//! none.
//!
//! A key is matched word by word against all patterns at once, like an automaton with a set of
//! states. A node is in the set at most once, so the work is bounded by words times nodes whatever
//! the patterns are.

mod matcher;
mod node;

pub(crate) use matcher::Matcher;

use node::{Node, ROOT, pattern, words};

use crate::core::{budget::Budget, content::keys::Keys};

/// How many states and values a key may take to be matched at once. A key that takes more is
/// matched in steps.
const AT_ONCE: usize = 2048;

/// Values under topic patterns, each with a number of its own.
#[derive(Debug)]
pub(crate) struct Trie<V> {
    nodes: Vec<Node<V>>,
    free: Vec<usize>,
    /// Nodes that are freed once no match in steps is unfinished, because its states may refer to
    /// them.
    retired: Vec<usize>,
    matchers: usize,
    /// The states before and after a word; the vectors are kept for their memory.
    current: Vec<usize>,
    next: Vec<usize>,
    step: u64,
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Trie {
            nodes: vec![Node::new(false)],
            free: Vec::new(),
            retired: Vec::new(),
            matchers: 0,
            current: Vec::new(),
            next: Vec::new(),
            step: 0,
        }
    }
}

impl<V: Copy> Trie<V> {
    /// Adds `value` under `pattern`, with a number of its own.
    pub(crate) fn insert(&mut self, key: &[u8], number: u64, value: V) {
        let mut at = ROOT;
        for word in pattern(key) {
            at = self.child(at, word).unwrap_or_else(|| self.grow(at, word));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.values.insert(number, value);
        }
    }

    /// Removes the value of this number from `pattern`.
    pub(crate) fn remove(&mut self, key: &[u8], number: u64) {
        let (mut at, mut path) = (ROOT, Vec::new());
        for word in pattern(key) {
            let Some(next) = self.child(at, word) else { return };
            path.push((at, word, next));
            at = next;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.values.remove(&number);
        }
        self.prune(&path);
    }

    /// Calls `found` with each value whose pattern matches one of the keys, perhaps repeatedly with
    /// the same. Returns whether the search is complete; otherwise the turn is over, and `matcher`
    /// says where to go on.
    pub(crate) fn matches(
        &mut self,
        keys: &Keys<'_>,
        matcher: &mut Option<Box<Matcher>>,
        budget: &mut Budget,
        mut found: impl FnMut(V),
    ) -> bool {
        if matcher.is_none() {
            if keys.len() == 1 && self.match_at_once(keys.first, budget, &mut found) {
                return true;
            }
            *matcher = Some(Box::default());
            self.matchers += 1;
        }
        let Some(under_way) = matcher else { return true };
        let is_done = under_way.proceed(&self.nodes, keys, budget, &mut found);
        if is_done {
            *matcher = None;
            self.matchers -= 1;
            if self.matchers == 0 {
                self.free.append(&mut self.retired);
            }
        }
        is_done
    }

    /// Matches one key at once, if that takes little work; returns whether it did.
    fn match_at_once(&mut self, key: &[u8], budget: &mut Budget, found: &mut impl FnMut(V)) -> bool {
        let (mut current, mut next) = (std::mem::take(&mut self.current), std::mem::take(&mut self.next));
        let cost = self.states_after(key, &mut current, &mut next);
        budget.spend(cost.unwrap_or(AT_ONCE) as u64 / 4);
        if cost.is_some() {
            for node in current.iter().filter_map(|&at| self.nodes.get(at)) {
                node.values.values().for_each(|&value| found(value));
            }
        }
        (self.current, self.next) = (current, next);
        cost.is_some()
    }

    /// The states after a key, with the numbers of states passed and of values found; `None` if
    /// that is too much.
    fn states_after(&mut self, key: &[u8], current: &mut Vec<usize>, next: &mut Vec<usize>) -> Option<usize> {
        current.clear();
        self.step += 1;
        self.enter(ROOT, current);
        let mut cost = 0;
        for word in words(key) {
            self.step += 1;
            next.clear();
            for &at in &*current {
                let Some(node) = self.nodes.get(at) else { continue };
                let (by_word, one, stays) = (node.words.get(word).copied(), node.one, node.is_many);
                for state in [by_word, one, stays.then_some(at)].into_iter().flatten() {
                    self.enter(state, next);
                }
            }
            std::mem::swap(current, next);
            cost += current.len();
            if cost > AT_ONCE {
                return None;
            }
        }
        let values: usize =
            current.iter().filter_map(|&at| self.nodes.get(at)).map(|node| node.values.len()).sum();
        (cost + values <= AT_ONCE).then_some(cost + values)
    }

    /// Adds a node to the states, and with it the `#` below, which may match no word at all.
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

    /// Removes the nodes at the end of `path`, which lists parent, word and child, that are no
    /// longer needed.
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
            if self.matchers == 0 { self.free.push(child) } else { self.retired.push(child) }
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::ShortString;
    use proptest::prelude::*;

    use super::*;

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

    /// Returns what one or several keys find, without duplicates; `bound` limits the work of a
    /// turn.
    fn found_in_turns(trie: &mut Trie<usize>, first: &str, more: &[ShortString], bound: u64) -> Vec<usize> {
        let (mut budget, mut matcher, mut found) = (Budget::default(), None, Vec::new());
        budget.set_bound(bound);
        let keys = Keys { first: first.as_bytes(), more };
        while !trie.matches(&keys, &mut matcher, &mut budget, |value| found.push(value)) {
            assert!(budget.is_over());
            budget.begin();
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!((trie.matchers, trie.retired.len()), (0, 0));
        found
    }

    fn matched(trie: &mut Trie<usize>, key: &str) -> Vec<usize> {
        let at_once = found_in_turns(trie, key, &[], u64::MAX);
        let again = [ShortString::try_from(key.to_owned()).unwrap()];
        assert_eq!(found_in_turns(trie, key, &again, 1), at_once, "in steps");
        at_once
    }

    fn text(words: &[&str]) -> String {
        words.join(".")
    }

    fn filled(patterns: &[Vec<&str>]) -> Trie<usize> {
        let mut trie = Trie::default();
        for (index, pattern) in patterns.iter().enumerate() {
            trie.insert(text(pattern).as_bytes(), index as u64, index);
        }
        trie
    }

    fn expected(patterns: &[Vec<&str>], key: &str) -> Vec<usize> {
        let matches = |index: &usize| {
            let pattern = text(&patterns[*index]);
            naive(&words(pattern.as_bytes()).collect::<Vec<_>>(), &words(key.as_bytes()).collect::<Vec<_>>())
        };
        (0..patterns.len()).filter(matches).collect()
    }

    fn patterns() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
        let word = prop::sample::select(vec!["a", "b", "*", "#", ""]);
        prop::collection::vec(prop::collection::vec(word, 0..5), 1..8)
    }

    fn key() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec!["a", "b", "c", ""]);
        prop::collection::vec(word, 0..6).prop_map(|words| text(&words))
    }

    proptest! {
        #[test]
        fn it_matches_as_the_definition_says(
            patterns in patterns(),
            key in key(),
            removed in prop::collection::vec(any::<bool>(), 8),
        ) {
            let mut trie = filled(&patterns);
            for (index, pattern) in patterns.iter().enumerate().filter(|(index, _)| removed[*index]) {
                trie.remove(text(pattern).as_bytes(), index as u64);
            }
            let mut expected = expected(&patterns, &key);
            expected.retain(|&index| !removed[index]);
            prop_assert_eq!(matched(&mut trie, &key), expected);
        }

        #[test]
        fn many_keys_find_together_what_each_finds(
            patterns in patterns(),
            keys in prop::collection::vec(key(), 1..600),
            bound in 1..200_u64,
        ) {
            let mut trie = filled(&patterns);
            let more: Vec<_> = keys.iter().map(|key| ShortString::try_from(key.clone()).unwrap()).collect();
            let mut all: Vec<_> = keys.iter().flat_map(|key| expected(&patterns, key)).collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(found_in_turns(&mut trie, &keys[0], &more, bound), all);
        }

        #[test]
        fn what_is_there_all_the_while_is_found_whatever_comes_and_goes(
            patterns in patterns(),
            changed in patterns(),
            key in key(),
        ) {
            let mut trie = filled(&patterns);
            for (index, pattern) in changed.iter().enumerate() {
                trie.insert(text(pattern).as_bytes(), 100 + index as u64, 100 + index);
            }
            let more = [ShortString::try_from(key.clone()).unwrap()];
            let (mut budget, mut matcher, mut found) = (Budget::default(), None, Vec::new());
            budget.set_bound(1);
            let mut step = 0;
            let keys = Keys { first: key.as_bytes(), more: &more };
            while !trie.matches(&keys, &mut matcher, &mut budget, |value| found.push(value)) {
                let index = step % changed.len();
                let pattern = text(&changed[index]);
                match (step / changed.len()) % 2 {
                    0 => trie.remove(pattern.as_bytes(), 100 + index as u64),
                    _ => trie.insert(pattern.as_bytes(), 100 + index as u64, 100 + index),
                }
                step += 1;
                budget.begin();
            }
            found.retain(|&value| value < 100);
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found, expected(&patterns, &key));
        }
    }

    #[test]
    fn many_hashes_against_a_long_key_stay_cheap() {
        let mut trie = Trie::default();
        trie.insert("#.a.".repeat(40).as_bytes(), 1, 1);
        trie.insert("#.a.".repeat(40).trim_end_matches('.').as_bytes(), 2, 2);
        assert_eq!(matched(&mut trie, "a.".repeat(127).trim_end_matches('.')), [2]);
    }

    #[test]
    fn removing_everything_leaves_the_root_alone() {
        let mut trie = Trie::default();
        for (number, pattern) in ["a.*.#", "a.b", "#"].iter().enumerate() {
            trie.insert(pattern.as_bytes(), number as u64, 1);
        }
        for (number, pattern) in ["a.*.#", "a.b", "#", "never.there"].iter().enumerate() {
            trie.remove(pattern.as_bytes(), number as u64);
        }
        assert_eq!(trie.nodes.len() - trie.free.len(), 1);
        assert_eq!(matched(&mut trie, "a.b"), [0usize; 0]);
    }
}
