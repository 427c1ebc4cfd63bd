//! A double-ended queue in segments: a long one grows without being moved as a whole, and frees
//! memory while it drains.

use std::collections::VecDeque;

/// How many elements a segment holds at first. Insertions may double that.
const SEGMENT: usize = 256;

/// A double-ended queue in segments.
#[derive(Debug)]
pub(crate) struct Segments<T> {
    /// No segment is empty unless it is the only one.
    segments: VecDeque<VecDeque<T>>,
    /// A segment that became empty, kept for the next one that is needed.
    spare: Option<VecDeque<T>>,
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Segments { segments: VecDeque::new(), spare: None }
    }
}

impl<T> Segments<T> {
    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.segments.front()?.front()
    }

    #[inline]
    pub(crate) fn push_back(&mut self, element: T) {
        match self.segments.back_mut() {
            Some(last) if last.len() < SEGMENT => last.push_back(element),
            _ => {
                let mut segment = self.another();
                segment.push_back(element);
                self.segments.push_back(segment);
            }
        }
    }

    pub(crate) fn push_front(&mut self, element: T) {
        match self.segments.front_mut() {
            Some(first) if first.len() < SEGMENT => first.push_front(element),
            _ => {
                let mut segment = self.another();
                segment.push_front(element);
                self.segments.push_front(segment);
            }
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.segments.front_mut()?;
        let element = first.pop_front();
        if first.is_empty() && self.segments.len() > 1 {
            self.spare = self.segments.pop_front();
        }
        element
    }

    /// Inserts an element behind all those for which `is_before` holds; they must precede all
    /// others.
    pub(crate) fn insert_after(&mut self, element: T, is_before: impl Fn(&T) -> bool) {
        let starts_before = |segment: &VecDeque<T>| segment.front().is_some_and(&is_before);
        let index = self.segments.partition_point(starts_before);
        let Some(index) = index.checked_sub(1) else { return self.push_front(element) };
        let Some(segment) = self.segments.get_mut(index) else { return };
        segment.insert(segment.partition_point(is_before), element);
        if segment.len() >= 2 * SEGMENT {
            let rest = segment.split_off(SEGMENT);
            self.segments.insert(index + 1, rest);
        }
    }

    /// Iterates from the front to the back.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flatten()
    }

    /// An empty segment. The first one starts small, because many queues never hold more than a few
    /// messages.
    fn another(&mut self) -> VecDeque<T> {
        match self.spare.take() {
            Some(spare) => spare,
            None if self.segments.is_empty() => VecDeque::new(),
            None => VecDeque::with_capacity(SEGMENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_queue_that_drained_keeps_no_more_than_two_pieces() {
        let mut queue = Segments::default();
        (0..100 * SEGMENT).for_each(|number| queue.push_back(number));
        assert_eq!(queue.segments.len(), 100);
        for number in 0..100 * SEGMENT {
            assert_eq!(queue.pop_front(), Some(number));
        }
        assert_eq!(queue.pop_front(), None);
        let kept = queue.segments.iter().chain(&queue.spare).map(VecDeque::capacity).sum::<usize>();
        assert!(kept <= 4 * SEGMENT, "room for {kept}");
    }

    #[derive(Clone, Debug)]
    enum Act {
        Append(usize),
        Take(usize),
        PutBack(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1..700_usize).prop_map(Act::Append),
            (1..700_usize).prop_map(Act::Take),
            (1..700_usize).prop_map(Act::PutBack)
        ]
    }

    proptest! {
        /// Compares with a sorted vector: the highest elements are appended, and elements that were
        /// taken are put back to their place.
        #[test]
        fn it_is_one_queue_whatever_its_pieces(acts in prop::collection::vec(act(), 1..30)) {
            let (mut queue, mut model, mut taken, mut next) = (Segments::default(), VecDeque::new(), Vec::new(), 0_u32);
            for act in acts {
                match act {
                    Act::Append(count) => for _ in 0..count {
                        queue.push_back(next);
                        model.push_back(next);
                        next += 1;
                    },
                    Act::Take(count) => for _ in 0..count {
                        let element = queue.pop_front();
                        prop_assert_eq!(element, model.pop_front());
                        taken.extend(element);
                    },
                    Act::PutBack(count) => for index in 0..count.min(taken.len()) {
                        let element = taken.swap_remove(index * 7919 % taken.len());
                        queue.insert_after(element, |other| *other < element);
                        model.insert(model.partition_point(|other| *other < element), element);
                    },
                }
                prop_assert_eq!(queue.front(), model.front());
                prop_assert!(queue.iter().eq(model.iter()));
                prop_assert!(queue.segments.len() < 2 || queue.segments.iter().all(|segment| !segment.is_empty()));
            }
        }
    }
}
