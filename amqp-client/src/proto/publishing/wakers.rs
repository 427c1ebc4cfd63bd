//! The wakers of the futures that wait for answers to publishes: a ring indexed by tag, and a map
//! of those that later ones have overtaken.
//!
//! Futures wait mostly for neighbouring tags, and a run of answers wakes all of them at once. Few
//! futures far apart must not make the ring long: where it has many more gaps than wakers, its
//! start moves on, and wakers there move into the map.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    task::Waker,
};

/// Memory for this many wakers is kept while nobody waits.
const ROOM_KEPT: usize = 64;

/// The most gaps that the ring may have, in addition to as many as it has wakers.
const GAPS_KEPT: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Wakers {
    /// The tag of the first entry.
    base: u64,
    /// The first entry and the last one are wakers.
    ring: VecDeque<Option<Waker>>,
    /// The number of entries that are wakers.
    in_ring: usize,
    /// The wakers of tags below the ring.
    overtaken: BTreeMap<u64, Waker>,
}

impl Wakers {
    /// Adds the waker of a tag, in place of an earlier one.
    pub(crate) fn insert(&mut self, tag: u64, waker: Waker) {
        if self.ring.is_empty() {
            self.base = tag;
        }
        let Some(index) = self.index(tag) else {
            self.overtaken.insert(tag, waker);
            return;
        };
        if let Some(entry) = self.ring.get_mut(index) {
            self.in_ring += usize::from(entry.replace(waker).is_none());
            return;
        }
        self.limit_gaps(index + 1);
        if self.ring.is_empty() {
            self.base = tag;
        }
        let end = self.base + self.ring.len() as u64;
        self.ring.extend((end..tag).map(|_| None));
        self.ring.push_back(Some(waker));
        self.in_ring += 1;
    }

    /// Moves the ring's start until a ring that ends where one of this length does has few gaps.
    fn limit_gaps(&mut self, mut length: usize) {
        while let Some(first) = self.ring.front_mut()
            && length > 2 * self.in_ring + GAPS_KEPT
        {
            if let Some(waker) = first.take() {
                self.overtaken.insert(self.base, waker);
                self.in_ring -= 1;
            }
            length -= self.drop_gaps();
        }
    }

    /// Removes the waker of a tag.
    pub(crate) fn remove(&mut self, tag: u64) -> Option<Waker> {
        let Some(index) = self.index(tag) else { return self.overtaken.remove(&tag) };
        let waker = self.ring.get_mut(index)?.take()?;
        self.in_ring -= 1;
        self.drop_gaps();
        self.limit_gaps(self.ring.len());
        Some(waker)
    }

    /// Removes the wakers of all tags up to `last`, and adds them to `wakes` in their order.
    pub(crate) fn take_up_to(&mut self, last: u64, wakes: &mut Vec<Waker>) {
        if !self.overtaken.is_empty() {
            let later = self.overtaken.split_off(&last.saturating_add(1));
            wakes.extend(mem::replace(&mut self.overtaken, later).into_values());
        }
        let Some(index) = self.index(last) else { return };
        let count = index.saturating_add(1).min(self.ring.len());
        let before = wakes.len();
        wakes.extend(self.ring.drain(..count).flatten());
        self.in_ring -= wakes.len() - before;
        self.base += count as u64;
        self.drop_gaps();
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self) {
        self.ring.shrink_to(ROOM_KEPT);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.in_ring + self.overtaken.len()
    }

    /// Removes gaps from both ends of the ring; returns how far its start has moved.
    fn drop_gaps(&mut self) -> usize {
        let mut moved = 0;
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            moved += 1;
        }
        while let Some(None) = self.ring.back() {
            self.ring.pop_back();
        }
        self.base += moved as u64;
        moved
    }

    /// Returns the index of a tag in the ring, present or future; `None` below the ring.
    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.base)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Arc, Mutex},
        task::Wake,
    };

    use super::*;

    /// Notes its tag when it is woken.
    struct Noted(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn woken(wakes: impl IntoIterator<Item = Waker>, noted: &Mutex<Vec<u64>>) -> Vec<u64> {
        wakes.into_iter().for_each(Waker::wake);
        mem::take(&mut *noted.lock().unwrap())
    }

    #[test]
    fn each_tag_is_woken_once_in_order_and_gaps_are_few() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let noted = Arc::new(Mutex::new(Vec::new()));
            let (mut wakers, mut model) = (Wakers::default(), BTreeSet::new());
            for step in 0..300 {
                let tag = match random.u8(..4) {
                    0 => random.u64(1..9_000),
                    _ => random.u64(1..40) + step,
                };
                let mut wakes = Vec::new();
                let expected = match random.u8(..6) {
                    0 => {
                        wakes.extend(wakers.remove(tag));
                        model.take(&tag).into_iter().collect()
                    }
                    1 => {
                        wakers.take_up_to(tag, &mut wakes);
                        let later = model.split_off(&(tag + 1));
                        mem::replace(&mut model, later)
                    }
                    _ => {
                        wakers.insert(tag, Waker::from(Arc::new(Noted(tag, noted.clone()))));
                        model.insert(tag);
                        BTreeSet::new()
                    }
                };
                let expected: Vec<_> = expected.into_iter().collect();
                assert_eq!(woken(wakes, &noted), expected, "seed {seed}");
                assert!(wakers.ring.len() <= 2 * wakers.in_ring + GAPS_KEPT, "seed {seed}");
                assert_eq!(wakers.len(), model.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn wakers_far_apart_are_kept_without_the_gaps_between_them() {
        let mut wakers = Wakers::default();
        for tag in (1..100).map(|number| number * 1_000_000) {
            wakers.insert(tag, Waker::noop().clone());
        }
        assert!(wakers.ring.len() <= GAPS_KEPT + 2, "{}", wakers.ring.len());
        let mut wakes = Vec::new();
        wakers.take_up_to(u64::MAX, &mut wakes);
        assert_eq!((wakes.len(), wakers.ring.len()), (99, 0));
    }
}
