//! The unanswered publishes of a channel: a ring indexed by tag, and a map of those that later ones
//! have overtaken.
//!
//! Settling up to a tag moves the ring's start. A missing answer does not block the ring: where
//! more of it is settled than open, its start moves on, and open publishes there move into the map.
//! Each publish enters and leaves the ring once.

use std::collections::{BTreeMap, VecDeque};

/// Memory for this many publishes is kept while nothing is published.
const ROOM_KEPT: usize = 64;

/// How many settled publishes may stay in the ring, in addition to as many as are open there.
const SETTLED_KEPT: usize = 1024;

/// The state of a publish in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Open(Asker),
    Settled,
}

/// Whether somebody will ask for the outcome of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Waits,
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Overtaken {
    asker: Asker,
    bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Unconfirmed {
    /// The tag of the first entry.
    base: u64,
    entries: VecDeque<Entry>,
    /// For each entry, the total size of all messages published up to it.
    bytes_until: VecDeque<u64>,
    /// The total size of all messages published before the first entry.
    bytes_before: u64,
    bytes_published: u64,
    /// Open publishes with tags below the ring.
    overtaken: BTreeMap<u64, Overtaken>,
    open: usize,
    open_bytes: u64,
}

impl Unconfirmed {
    /// Returns the state before the first publish, which has the tag 1.
    pub(crate) fn new() -> Self {
        Unconfirmed {
            base: 1,
            entries: VecDeque::new(),
            bytes_until: VecDeque::new(),
            bytes_before: 0,
            bytes_published: 0,
            overtaken: BTreeMap::new(),
            open: 0,
            open_bytes: 0,
        }
    }

    /// Returns how many publishes are open.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// Returns the total size of their bodies.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.open_bytes
    }

    /// Returns the tag of the last publish; 0 before the first.
    #[inline]
    pub(crate) fn newest(&self) -> u64 {
        self.base + self.entries.len() as u64 - 1
    }

    /// Returns the tag of the oldest open publish, or the next tag: everything below is settled.
    #[inline]
    pub(crate) fn oldest(&self) -> u64 {
        self.overtaken.first_key_value().map_or(self.base, |(tag, _)| *tag)
    }

    /// Adds a publish; returns its tag.
    #[inline]
    pub(crate) fn push(&mut self, bytes: usize, asker: Asker) -> u64 {
        let tag = self.base + self.entries.len() as u64;
        self.open += 1;
        self.open_bytes += bytes as u64;
        self.bytes_published += bytes as u64;
        self.bytes_until.push_back(self.bytes_published);
        self.entries.push_back(Entry::Open(asker));
        tag
    }

    /// Returns who asks for an open publish; `None` when it is settled, or was never published.
    pub(crate) fn asker(&self, tag: u64) -> Option<Asker> {
        match self.index(tag) {
            Some(index) => match self.entries.get(index)? {
                Entry::Open(asker) => Some(*asker),
                Entry::Settled => None,
            },
            None => self.overtaken.get(&tag).map(|overtaken| overtaken.asker),
        }
    }

    /// Notes that nobody will ask for it.
    pub(crate) fn forget(&mut self, tag: u64) {
        if let Some(index) = self.index(tag) {
            if let Some(Entry::Open(asker)) = self.entries.get_mut(index) {
                *asker = Asker::Gone;
            }
        } else if let Some(overtaken) = self.overtaken.get_mut(&tag) {
            overtaken.asker = Asker::Gone;
        }
    }

    /// Returns all open tags, oldest first.
    pub(crate) fn open_tags(&self) -> Vec<u64> {
        let ring = (self.base..).zip(&self.entries).filter(|(_, entry)| **entry != Entry::Settled);
        self.overtaken.keys().copied().chain(ring.map(|(tag, _)| tag)).collect()
    }

    /// Returns the tags up to `last` that may be open, oldest first.
    pub(crate) fn candidates_up_to(&self, last: u64) -> impl Iterator<Item = u64> + use<> {
        // There are few, if any, and without any nothing is allocated.
        let overtaken: Vec<_> = self.overtaken.range(..=last).map(|(tag, _)| *tag).collect();
        overtaken.into_iter().chain(self.base..=last)
    }

    /// Settles one publish; returns who asks for it, or `None` when it was settled or never
    /// published. [`advance`](Self::advance) has to follow.
    pub(crate) fn settle(&mut self, tag: u64) -> Option<Asker> {
        let Some(index) = self.index(tag) else {
            let overtaken = self.overtaken.remove(&tag)?;
            self.close(overtaken.bytes);
            return Some(overtaken.asker);
        };
        match std::mem::replace(self.entries.get_mut(index)?, Entry::Settled) {
            Entry::Settled => None,
            Entry::Open(asker) => {
                self.close(self.size(index));
                Some(asker)
            }
        }
    }

    /// Settles all publishes up to `last`, which exists. [`advance`](Self::advance) has to follow.
    pub(crate) fn settle_up_to(&mut self, last: u64) {
        while let Some(entry) = self.overtaken.first_entry().filter(|entry| *entry.key() <= last) {
            let bytes = entry.remove().bytes;
            self.close(bytes);
        }
        let Some(count) = self.index(last).map(|index| (index + 1).min(self.entries.len())) else { return };
        let Some(bytes_until) = self.bytes_until.get(count - 1).copied() else { return };
        if self.settled_in_ring() == 0 {
            self.open -= count;
            self.open_bytes -= bytes_until - self.bytes_before;
        } else {
            for index in 0..count {
                if matches!(self.entries.get(index), Some(Entry::Open(_))) {
                    self.close(self.size(index));
                }
            }
        }
        self.entries.drain(..count);
        self.bytes_until.drain(..count);
        self.bytes_before = bytes_until;
        self.base += count as u64;
    }

    /// Moves the ring's start beyond settled publishes, and beyond those that block too many
    /// settled ones.
    pub(crate) fn advance(&mut self) {
        while let Some(&first) = self.entries.front() {
            match first {
                Entry::Settled => self.drop_first(),
                Entry::Open(asker) => {
                    let open_in_ring = self.open - self.overtaken.len();
                    if self.settled_in_ring() <= SETTLED_KEPT + open_in_ring {
                        return;
                    }
                    let overtaken = Overtaken { asker, bytes: self.size(0) };
                    self.overtaken.insert(self.base, overtaken);
                    self.drop_first();
                }
            }
        }
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self) {
        self.entries.shrink_to(ROOM_KEPT);
        self.bytes_until.shrink_to(ROOM_KEPT);
    }

    fn drop_first(&mut self) {
        self.entries.pop_front();
        if let Some(bytes) = self.bytes_until.pop_front() {
            self.bytes_before = bytes;
        }
        self.base += 1;
    }

    fn close(&mut self, bytes: u64) {
        self.open -= 1;
        self.open_bytes -= bytes;
    }

    fn settled_in_ring(&self) -> usize {
        self.entries.len() + self.overtaken.len() - self.open
    }

    /// Returns the index of a tag in the ring, present or future; `None` below the ring.
    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.base)?).ok()
    }

    /// Returns the size of an entry's message.
    fn size(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).and_then(|before| self.bytes_until.get(before));
        let until = self.bytes_until.get(index).copied().unwrap_or_default();
        until - before.copied().unwrap_or(self.bytes_before)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn with_publishes(count: u64) -> Unconfirmed {
        let mut unconfirmed = Unconfirmed::new();
        for tag in 1..=count {
            assert_eq!(unconfirmed.push(10, Asker::Waits), tag);
        }
        unconfirmed
    }

    impl Unconfirmed {
        fn settle_and_advance(&mut self, tag: u64) -> Option<Asker> {
            let settled = self.settle(tag);
            self.advance();
            settled
        }
    }

    #[test]
    fn what_is_not_answered_counts_and_what_was_published_after_it_does_not() {
        let mut unconfirmed = with_publishes(10);
        (2..=10).for_each(|tag| assert_eq!(unconfirmed.settle_and_advance(tag), Some(Asker::Waits)));
        assert_eq!((unconfirmed.len(), unconfirmed.bytes(), unconfirmed.oldest()), (1, 10, 1));
        assert_eq!(unconfirmed.settle_and_advance(2), None);
        assert_eq!(unconfirmed.settle_and_advance(11), None, "it was never published");
        assert_eq!(unconfirmed.settle_and_advance(1), Some(Asker::Waits));
        assert_eq!((unconfirmed.len(), unconfirmed.bytes(), unconfirmed.oldest()), (0, 0, 11));
    }

    #[test]
    fn an_answer_that_never_comes_keeps_no_more_than_itself() {
        let mut unconfirmed = with_publishes(3);
        unconfirmed.forget(2);
        for _ in 0..100_000 {
            let tag = unconfirmed.push(7, Asker::Waits);
            unconfirmed.settle_and_advance(tag);
        }
        assert_eq!((unconfirmed.len(), unconfirmed.bytes(), unconfirmed.oldest()), (3, 30, 1));
        assert!(unconfirmed.entries.len() <= SETTLED_KEPT + 3, "{}", unconfirmed.entries.len());
        assert_eq!(unconfirmed.open_tags(), [1, 2, 3]);
        assert_eq!(unconfirmed.asker(2), Some(Asker::Gone));
        unconfirmed.forget(3);
        assert_eq!(unconfirmed.settle_and_advance(2), Some(Asker::Gone));
        assert_eq!(unconfirmed.candidates_up_to(3).take(2).collect::<Vec<_>>(), [1, 3]);
        unconfirmed.settle_up_to(unconfirmed.newest());
        assert_eq!((unconfirmed.len(), unconfirmed.bytes(), unconfirmed.oldest()), (0, 0, 100_004));
    }

    /// Compares with a simple map of open publishes, with answers of all kinds in any order.
    #[test]
    fn counts_and_bytes_are_those_of_what_is_open() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut unconfirmed, mut open) = (Unconfirmed::new(), BTreeMap::<u64, u64>::new());
        for step in 0..50_000 {
            match random.u32(0..100) {
                0..50 => {
                    let bytes = random.usize(0..100);
                    open.insert(unconfirmed.push(bytes, Asker::Waits), bytes as u64);
                }
                // Answers are mostly for the latest, so that some stay open for long.
                50..98 => {
                    let tag = unconfirmed.newest().saturating_sub(random.u64(0..20));
                    let settled = unconfirmed.settle_and_advance(tag);
                    assert_eq!(settled.is_some(), open.remove(&tag).is_some());
                }
                _ if random.u32(0..500) == 0 => {
                    let last = random.u64(0..=unconfirmed.newest());
                    unconfirmed.settle_up_to(last);
                    unconfirmed.advance();
                    open = open.split_off(&(last + 1));
                }
                _ => {}
            }
            assert_eq!(unconfirmed.len(), open.len());
            if step % 100 == 0 {
                assert_eq!(unconfirmed.bytes(), open.values().sum::<u64>());
            }
            let next = unconfirmed.newest() + 1;
            assert_eq!(unconfirmed.oldest().min(next), open.keys().next().copied().unwrap_or(next));
        }
        assert_eq!(unconfirmed.open_tags(), open.keys().copied().collect::<Vec<_>>());
        assert!(unconfirmed.overtaken.len() > 100, "the test went by what it is for");
    }
}
