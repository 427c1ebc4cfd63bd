//! The unacknowledged deliveries of a channel, by delivery tag.

use std::{
    collections::{BTreeMap, VecDeque, btree_map, vec_deque},
    iter::Peekable,
};

use super::{
    ids::{ConsumerId, QueueId},
    ready::Entry,
};

/// An unacknowledged delivery.
#[derive(Debug)]
pub(crate) struct UnackedDelivery {
    pub(crate) entry: Entry,
    pub(crate) queue: QueueId,
    /// When it was sent.
    pub(crate) since: u64,
    /// Its consumer; `None` for `basic.get`.
    pub(crate) consumer: Option<ConsumerId>,
    /// Whether it counts against the channel's shared limit.
    pub(crate) shared: bool,
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The client acknowledged it.
    Acked,
    /// The client rejected it without requeueing.
    Rejected,
    /// The client requeued it.
    Requeued,
    /// The client rejected and requeued it, which some versions count as a failure.
    Failed,
    /// Its channel ended.
    Abandoned,
}

impl Outcome {
    /// Tells whether the message returns to its queue.
    pub(crate) const fn returns(self) -> bool {
        matches!(self, Outcome::Requeued | Outcome::Failed | Outcome::Abandoned)
    }
}

/// Deliveries in ascending order of their tags. One settled out of order leaves a gap, which is
/// removed when it comes to the front or when gaps prevail. So settling is cheap in any order, and
/// memory stays proportional to the deliveries.
#[derive(Debug, Default)]
pub(crate) struct Unacked {
    slots: VecDeque<(u64, Option<UnackedDelivery>)>,
    live: usize,
}

impl Unacked {
    /// How many deliveries are unacknowledged.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Adds a delivery; its tag is higher than all before it.
    #[inline]
    pub(crate) fn push(&mut self, tag: u64, delivery: UnackedDelivery) {
        self.slots.push_back((tag, Some(delivery)));
        self.live += 1;
    }

    /// Tells whether a delivery of this tag is unacknowledged.
    #[inline]
    pub(crate) fn contains(&self, tag: u64) -> bool {
        match self.slots.front() {
            Some((front, delivery)) if *front == tag => delivery.is_some(),
            _ => self
                .find(tag)
                .is_some_and(|index| self.slots.get(index).is_some_and(|(_, delivery)| delivery.is_some())),
        }
    }

    /// Takes the delivery of this tag.
    pub(crate) fn take(&mut self, tag: u64) -> Option<UnackedDelivery> {
        if self.slots.front().is_some_and(|(front, _)| *front == tag) {
            return self.pop_up_to(tag);
        }
        let index = self.find(tag)?;
        let delivery = self.slots.get_mut(index)?.1.take()?;
        self.live -= 1;
        if self.slots.len() > 64 && self.live < self.slots.len() / 2 {
            self.slots.retain(|(_, delivery)| delivery.is_some());
        }
        Some(delivery)
    }

    /// Takes the first delivery whose tag is at most this one.
    #[inline]
    pub(crate) fn pop_up_to(&mut self, tag: u64) -> Option<UnackedDelivery> {
        while self.slots.front().is_some_and(|(front, _)| *front <= tag) {
            if let Some((_, Some(delivery))) = self.slots.pop_front() {
                self.live -= 1;
                return Some(delivery);
            }
        }
        None
    }

    /// The oldest delivery.
    pub(crate) fn oldest(&self) -> Option<&UnackedDelivery> {
        self.slots.iter().find_map(|(_, delivery)| delivery.as_ref())
    }

    /// The lowest unacknowledged tag.
    pub(crate) fn first_tag(&mut self) -> Option<u64> {
        while self.slots.front().is_some_and(|(_, delivery)| delivery.is_none()) {
            self.slots.pop_front();
        }
        self.slots.front().map(|(tag, _)| *tag)
    }

    /// Begins to put back deliveries that were taken. Until that ends, the list is empty.
    pub(crate) fn begin_merging(&mut self, taken: BTreeMap<u64, UnackedDelivery>) -> Merging {
        self.live += taken.len();
        let slots = std::mem::take(&mut self.slots);
        let merged = VecDeque::with_capacity(slots.len());
        Merging { slots: slots.into_iter().peekable(), taken: taken.into_iter().peekable(), merged }
    }

    /// Takes the result of a completed merge.
    pub(crate) fn end_merging(&mut self, merging: Merging) {
        self.slots = merging.merged;
    }

    /// The unacknowledged tags up to and including this one.
    #[cfg(test)]
    pub(crate) fn tags_up_to(&self, tag: u64) -> impl Iterator<Item = u64> {
        let out = self.slots.iter().take_while(move |(other, _)| *other <= tag);
        out.filter(|(_, delivery)| delivery.is_some()).map(|(tag, _)| *tag)
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &UnackedDelivery> {
        self.iter().map(|(_, delivery)| delivery)
    }

    /// All deliveries with their tags, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &UnackedDelivery)> {
        self.slots.iter().filter_map(|(tag, delivery)| Some((*tag, delivery.as_ref()?)))
    }

    fn find(&self, tag: u64) -> Option<usize> {
        self.slots.binary_search_by_key(&tag, |(other, _)| *other).ok()
    }
}

/// Deliveries that are being merged back into the unacknowledged ones.
#[derive(Debug)]
pub(crate) struct Merging {
    slots: Peekable<vec_deque::IntoIter<(u64, Option<UnackedDelivery>)>>,
    taken: Peekable<btree_map::IntoIter<u64, UnackedDelivery>>,
    merged: VecDeque<(u64, Option<UnackedDelivery>)>,
}

impl Merging {
    /// Puts one delivery in its place; returns whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        let next = match (self.slots.peek(), self.taken.peek()) {
            // Its slot may still exist, empty.
            (Some((tag, _)), Some((taken, _))) if tag == taken => {
                self.slots.next();
                return true;
            }
            (Some((tag, _)), Some((taken, _))) if tag < taken => self.slots.next(),
            (_, Some(_)) => self.taken.next().map(|(tag, delivery)| (tag, Some(delivery))),
            (_, None) => self.slots.next(),
        };
        let Some((tag, delivery)) = next else { return false };
        if delivery.is_some() {
            self.merged.push_back((tag, delivery));
        }
        true
    }
}

/// How far the search for acknowledgement timeouts is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcksChecked {
    /// The index of the next channel.
    pub(crate) place: usize,
    /// The earliest deadline among the channels that were passed.
    pub(crate) due: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        collections::arena::Arena,
        content::{message::Draft, returns::Returns},
        entities::ready::NEVER,
        journal::kept::Kept,
    };

    fn delivery() -> UnackedDelivery {
        let mut queues = Arena::<(), _>::default();
        let message = Draft::default().message(false, None);
        let entry = Entry {
            message,
            position: 0,
            expires_at: NEVER,
            priority: 0,
            redelivered: false,
            returns: Returns::NONE,
            kept: Kept::NO,
        };
        UnackedDelivery { entry, queue: queues.insert(()), since: 0, consumer: None, shared: false }
    }

    fn filled(tags: impl IntoIterator<Item = u64>) -> Unacked {
        let mut unacked = Unacked::default();
        tags.into_iter().for_each(|tag| unacked.push(tag, delivery()));
        unacked
    }

    #[test]
    fn a_tag_is_taken_once_in_any_order() {
        let mut unacked = filled([1, 2, 5, 9]);
        assert!(unacked.take(5).is_some() && unacked.take(5).is_none() && !unacked.contains(5));
        assert!(unacked.take(3).is_none());
        assert!(unacked.take(1).is_some());
        assert_eq!(unacked.tags_up_to(9).collect::<Vec<_>>(), [2, 9]);
        assert!(
            unacked.pop_up_to(9).is_some()
                && unacked.pop_up_to(9).is_some()
                && unacked.pop_up_to(9).is_none()
        );
        assert_eq!((unacked.len(), unacked.slots.len()), (0, 0));
    }

    #[test]
    fn gaps_do_not_pile_up_behind_a_delivery_that_stays_out() {
        let mut unacked = filled([1]);
        for tag in 2..10_000 {
            unacked.push(tag, delivery());
            assert!(unacked.take(tag).is_some());
        }
        assert!(unacked.contains(1));
        assert!(unacked.slots.len() <= 128, "{}", unacked.slots.len());
    }

    #[test]
    fn what_is_restored_is_in_order_again() {
        let mut unacked = filled([1, 2, 3, 4]);
        let taken: Vec<_> = [3, 1].into_iter().filter_map(|tag| Some((tag, unacked.take(tag)?))).collect();
        let mut merging = unacked.begin_merging(taken.into_iter().collect());
        while merging.step() {}
        unacked.end_merging(merging);
        assert_eq!(unacked.tags_up_to(u64::MAX).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(unacked.len(), 4);
    }
}
