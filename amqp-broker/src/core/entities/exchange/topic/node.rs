//! The nodes of a trie of topic patterns.

use std::collections::{BTreeMap, HashMap};

/// The node where every pattern begins.
pub(crate) const ROOT: usize = 0;

/// The nodes that a sequence of words leads to.
#[derive(Debug)]
pub(crate) struct Node<V> {
    pub(crate) words: HashMap<Box<[u8]>, usize>,
    pub(crate) one: Option<usize>,
    pub(crate) many: Option<usize>,
    /// Whether `#` leads to this node, so that it stays a state for every word.
    pub(crate) is_many: bool,
    /// The values by their numbers.
    pub(crate) values: BTreeMap<u64, V>,
    /// The last step in which this node became a state.
    pub(crate) seen: u64,
}

impl<V> Node<V> {
    pub(crate) fn new(is_many: bool) -> Self {
        Node { words: HashMap::new(), one: None, many: None, is_many, values: BTreeMap::new(), seen: 0 }
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.words.is_empty() && self.one.is_none() && self.many.is_none() && self.values.is_empty()
    }
}

/// The words of a key. As in RabbitMQ, the empty key has none.
pub(crate) fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.split(|&octet| octet == b'.').filter(|_| !key.is_empty())
}

/// The words of a pattern. In each run of `*` and `#` the `*` come first, followed by one `#`: the
/// order within a run does not matter, and each further `#` would add a state.
pub(crate) fn pattern(pattern: &[u8]) -> Vec<&[u8]> {
    let mut ordered = Vec::new();
    let mut has_many = false;
    for word in words(pattern) {
        match word {
            b"#" => has_many = true,
            b"*" => ordered.push(word),
            _ => {
                ordered.extend(std::mem::take(&mut has_many).then_some(&b"#"[..]));
                ordered.push(word);
            }
        }
    }
    ordered.extend(has_many.then_some(&b"#"[..]));
    ordered
}
