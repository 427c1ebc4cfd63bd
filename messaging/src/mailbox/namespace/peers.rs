//! The peers that something was logged about, so that each is logged once.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
};

use crate::sync::Mutex;

/// The most peers that are remembered. A peer may take any number of names, so beyond these none is
/// logged.
const MOST: usize = 1024;

/// A bounded set of peers, of which only hashes are kept: a name may be long.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    hashes: RandomState,
    seen: Mutex<HashSet<u64>>,
}

impl Peers {
    /// Whether this peer is seen for the first time, and there is room to remember it.
    pub(crate) fn is_new(&self, name: &str) -> bool {
        let hash = self.hashes.hash_one(name);
        let mut seen = self.seen.lock();
        seen.len() < MOST && seen.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_new_once_and_their_number_is_bounded() {
        let peers = Peers::default();
        assert!(peers.is_new("a"));
        assert!(!peers.is_new("a"));
        let new = (0..2 * MOST).filter(|number| peers.is_new(&number.to_string())).count();
        assert_eq!(new, MOST - 1);
    }
}
