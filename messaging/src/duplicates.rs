//! Which messages were here already.

use std::collections::{HashSet, VecDeque};

/// The last ids seen, as many as there is room for.
///
/// Python keeps 16, which a burst of redeliveries outruns.
#[derive(Debug)]
pub(crate) struct Duplicates {
    seen: HashSet<String>,
    order: VecDeque<String>,
    room: usize,
}

impl Duplicates {
    pub(crate) fn new(room: usize) -> Self {
        Duplicates { seen: HashSet::new(), order: VecDeque::new(), room }
    }

    /// Whether this id was here before.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.seen.contains(id)
    }

    /// Whether this id was here before; it is now.
    pub(crate) fn is_repeated(&mut self, id: &str) -> bool {
        if self.seen.contains(id) {
            return true;
        }
        if self.order.len() >= self.room
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(id.to_owned());
        self.order.push_back(id.to_owned());
        false
    }
}

impl Default for Duplicates {
    fn default() -> Self {
        Duplicates::new(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_repeated_until_as_many_others_came_as_there_is_room_for() {
        let mut duplicates = Duplicates::new(3);
        assert!(!duplicates.is_repeated("a"));
        assert!(duplicates.is_repeated("a"));
        for other in ["b", "c"] {
            assert!(!duplicates.is_repeated(other));
        }
        assert!(duplicates.is_repeated("a"));
        assert!(!duplicates.is_repeated("d"));
        assert!(!duplicates.is_repeated("a"));
        assert_eq!((duplicates.seen.len(), duplicates.order.len()), (3, 3));
    }
}
