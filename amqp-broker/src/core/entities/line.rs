//! The line of a queue's consumers that may have room, by priority.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use super::ids::ConsumerId;

/// Consumers in the order in which they get messages: the highest priority first, and round robin
/// within a priority.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The consumers of priority 0, which nearly all have.
    usual: VecDeque<ConsumerId>,
    others: BTreeMap<Reverse<i32>, VecDeque<ConsumerId>>,
}

impl Line {
    /// The consumer whose turn it is.
    #[inline]
    pub(crate) fn front(&self) -> Option<ConsumerId> {
        if self.others.is_empty() {
            return self.usual.front().copied();
        }
        let (Reverse(priority), same) = self.others.first_key_value()?;
        let usual = if *priority > 0 { None } else { self.usual.front() };
        usual.or_else(|| same.front()).copied()
    }

    fn of(&mut self, priority: i32) -> &mut VecDeque<ConsumerId> {
        match priority {
            0 => &mut self.usual,
            _ => self.others.entry(Reverse(priority)).or_default(),
        }
    }

    /// Adds a consumer after those of its priority.
    pub(crate) fn push_back(&mut self, consumer: ConsumerId, priority: i32) {
        self.of(priority).push_back(consumer);
    }

    /// Adds a consumer before those of its priority.
    pub(crate) fn push_front(&mut self, consumer: ConsumerId, priority: i32) {
        self.of(priority).push_front(consumer);
    }

    /// The consumers of the priority whose turn it is.
    #[inline]
    fn first(&mut self) -> &mut VecDeque<ConsumerId> {
        let is_usual = match self.others.first_key_value() {
            None => true,
            Some((Reverse(priority), _)) => *priority < 0 && !self.usual.is_empty(),
        };
        match self.others.values_mut().next() {
            Some(first) if !is_usual => first,
            _ => &mut self.usual,
        }
    }

    /// Removes the consumer whose turn it is.
    pub(crate) fn pop_front(&mut self) {
        self.first().pop_front();
        if let Some(first) = self.others.first_entry()
            && first.get().is_empty()
        {
            first.remove();
        }
    }

    /// Passes the turn to the next consumer.
    #[inline]
    pub(crate) fn rotate(&mut self) {
        let first = self.first();
        if first.len() > 1 {
            first.rotate_left(1);
        }
    }

    pub(crate) fn retain(&mut self, is_there: impl Fn(&ConsumerId) -> bool) {
        self.usual.retain(&is_there);
        self.others.retain(|_, same| {
            same.retain(&is_there);
            !same.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::collections::arena::Arena;

    #[test]
    fn the_highest_priority_is_first_and_equals_take_turns() {
        let mut arena = Arena::<(), _>::default();
        let [low, usual, other, high] = std::array::from_fn(|_| arena.insert(()));
        let mut line = Line::default();
        for (consumer, priority) in [(low, -1), (usual, 0), (high, 5), (other, 0)] {
            line.push_back(consumer, priority);
        }
        assert_eq!(line.front(), Some(high));
        line.rotate();
        assert_eq!(line.front(), Some(high));
        line.pop_front();
        for turn in [usual, other, usual] {
            assert_eq!(line.front(), Some(turn));
            line.rotate();
        }
        line.retain(|consumer| *consumer != other);
        line.push_front(high, 0);
        let rest = std::array::from_fn(|_| {
            let front = line.front();
            line.pop_front();
            front
        });
        assert_eq!(rest, [Some(high), Some(usual), Some(low), None]);
        assert!(line.usual.is_empty() && line.others.is_empty());
    }
}
