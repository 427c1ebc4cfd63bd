//! Messages that arrive more than once.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

/// How many messages are remembered, as kombu does.
const MOST: usize = 1000;

/// The messages that a queue got lately. One that is published to two channels, or whose channel
/// matches two patterns, arrives by each of them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hasher: RandomState,
    seen: VecDeque<(u64, u64)>,
}

impl Recent {
    /// Notes a message; `false` when it has arrived by another pattern. What arrives again by the
    /// same one was sent again.
    pub(super) fn is_new(&mut self, pattern: &str, raw: &[u8]) -> bool {
        let (pattern, raw) = (self.hasher.hash_one(pattern), self.hasher.hash_one(raw));
        if self.seen.iter().any(|(by, message)| *message == raw && *by != pattern) {
            return false;
        }
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back((pattern, raw));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_pattern_makes_a_message_an_old_one() {
        let mut recent = Recent::default();
        assert!(recent.is_new("a", b"one"));
        assert!(!recent.is_new("b", b"one"));
        assert!(recent.is_new("a", b"one"));
        assert!(recent.is_new("b", b"two"));
        (0..MOST).for_each(|number| assert!(recent.is_new("a", number.to_string().as_bytes())));
        assert!(recent.is_new("b", b"one"), "it is long ago");
    }
}
