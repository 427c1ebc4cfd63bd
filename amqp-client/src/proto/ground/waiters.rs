//! The futures that wait for an event; each has an entry, which is removed when it is dropped.

use std::task::Waker;

use slab::Slab;

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    places: Slab<Waker>,
    /// How often all were woken.
    round: u64,
}

/// The entry of a waiter, valid until all are woken the next time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    index: usize,
    round: u64,
}

impl Waiters {
    /// Waits, with the waiter's entry or a new one.
    pub(crate) fn wait(&mut self, place: &mut Option<Place>, waker: &Waker) {
        let round = self.round;
        let kept = place.filter(|place| place.round == round);
        match kept.and_then(|place| self.places.get_mut(place.index)) {
            Some(known) => known.clone_from(waker),
            None => *place = Some(Place { index: self.places.insert(waker.clone()), round }),
        }
    }

    /// Stops waiting.
    pub(crate) fn leave(&mut self, place: Place) {
        if place.round == self.round {
            self.places.try_remove(place.index);
        }
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Wakes all. Those that still wait afterwards take a new entry.
    #[inline]
    pub(crate) fn wake_all(&mut self, wakes: &mut Vec<Waker>) {
        if !self.places.is_empty() {
            self.round += 1;
            wakes.extend(self.places.drain());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_keeps_one_place_however_often_it_polls() {
        let mut waiters = Waiters::default();
        let (mut one, mut other) = (None, None);
        for _ in 0..10 {
            waiters.wait(&mut one, Waker::noop());
            waiters.wait(&mut other, Waker::noop());
        }
        assert_eq!(waiters.places.len(), 2);
        waiters.leave(one.unwrap());
        assert_eq!(waiters.places.len(), 1);
    }

    #[test]
    fn a_place_of_an_earlier_round_is_nobodys() {
        let mut waiters = Waiters::default();
        let (mut early, mut late) = (None, None);
        waiters.wait(&mut early, Waker::noop());
        let mut wakes = Vec::new();
        waiters.wake_all(&mut wakes);
        assert_eq!(wakes.len(), 1);
        waiters.wait(&mut late, Waker::noop());
        waiters.leave(early.unwrap());
        assert_eq!(waiters.places.len(), 1);
        waiters.wait(&mut early, Waker::noop());
        assert_eq!(waiters.places.len(), 2);
    }
}
