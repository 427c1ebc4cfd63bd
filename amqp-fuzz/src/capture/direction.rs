//! One direction of a TCP connection, put in order.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The cost of a segment that waits for an earlier one, beside its octets, in bytes.
const COST: usize = 64;

/// A part of a stream that became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The next octets.
    Octets(Bytes),
    /// So many octets are not in the capture.
    Gap(u64),
}

/// The octets that one side sends. Of octets that were captured twice, the first count.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// The first sequence number, if the SYN was seen.
    start: Option<u32>,
    /// The place of the next octet, and so of its sequence number; `None` before the first segment.
    next: Option<u64>,
    /// Where the stream ends.
    end: Option<u64>,
    /// Segments after a gap, by their places.
    waiting: BTreeMap<u64, Bytes>,
    /// The cost of them all, in bytes.
    cost: usize,
}

impl Direction {
    /// Begins with the sequence number after a SYN. Returns whether it had begun elsewhere.
    pub(super) fn begin(&mut self, sequence: u32) -> bool {
        if self.start == Some(sequence) {
            return false;
        }
        if self.next.is_some() {
            return true;
        }
        (self.start, self.next) = (Some(sequence), Some(first(sequence)));
        false
    }

    /// Returns the cost of the segments that wait, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Takes a segment, and returns what follows from it. Above `most` bytes of waiting segments
    /// the gap before them is given up.
    pub(super) fn segment(&mut self, sequence: u32, payload: &[u8], ends: bool, most: usize) -> Vec<Part> {
        let next = *self.next.get_or_insert_with(|| first(sequence));
        let place = place(next, sequence);
        let after = place + payload.len() as u64;
        if ends {
            self.end.get_or_insert(after);
        }
        if after > next {
            self.wait(place, payload);
        }
        let mut parts = self.in_order();
        while self.cost > most {
            parts.extend(self.skip());
        }
        parts
    }

    /// Returns whether all has come up to the end.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| self.next.is_some_and(|next| next >= end))
    }

    /// Returns what waits, with the gaps before it: nothing more will come.
    pub(super) fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while !self.waiting.is_empty() {
            parts.extend(self.skip());
        }
        parts
    }

    fn wait(&mut self, place: u64, payload: &[u8]) {
        let known = self.waiting.get(&place).map_or(0, Bytes::len);
        if payload.len() > known {
            // What came first stays.
            let mut whole = self.waiting.remove(&place).map_or_else(Vec::new, |known| known.to_vec());
            whole.extend_from_slice(payload.get(known..).unwrap_or_default());
            self.cost += whole.len() + COST - if known > 0 { known + COST } else { 0 };
            self.waiting.insert(place, whole.into());
        }
    }

    fn in_order(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let (Some(next), Some(first)) = (self.next, self.waiting.first_entry()) {
            if *first.key() > next {
                break;
            }
            let (place, mut octets) = first.remove_entry();
            self.cost -= octets.len() + COST;
            let known = usize::try_from(next - place).unwrap_or(usize::MAX).min(octets.len());
            let octets = octets.split_off(known);
            if !octets.is_empty() {
                self.next = Some(next + octets.len() as u64);
                parts.push(Part::Octets(octets));
            }
        }
        parts
    }

    /// Gives up the gap before what waits.
    fn skip(&mut self) -> Vec<Part> {
        let (Some(next), Some((&place, _))) = (self.next, self.waiting.first_key_value()) else {
            return Vec::new();
        };
        self.next = Some(place);
        let mut parts = vec![Part::Gap(place - next)];
        parts.extend(self.in_order());
        parts
    }
}

/// The place of a sequence number: the one that is nearest to the next octet's.
fn place(next: u64, sequence: u32) -> u64 {
    let distance = sequence.wrapping_sub(next as u32).cast_signed();
    next.saturating_add_signed(distance.into())
}

/// The place of the first octet: far enough from zero for octets before it.
fn first(sequence: u32) -> u64 {
    1 << 32 | u64::from(sequence)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1 << 20;

    fn octets(parts: Vec<Part>) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in parts {
            match part {
                Part::Octets(octets) => whole.extend_from_slice(&octets),
                Part::Gap(gap) => panic!("a gap of {gap}"),
            }
        }
        whole
    }

    proptest! {
        #[test]
        fn segments_in_any_order_twice_and_overlapping_are_the_same_stream(
            stream in prop::collection::vec(any::<u8>(), 1..400),
            start: u32,
            cuts in prop::collection::vec((0usize..400, 1usize..60), 0..30),
            order in any::<u64>(),
        ) {
            let mut segments: Vec<(usize, usize)> =
                (0..stream.len()).step_by(16).map(|at| (at, 16)).chain(cuts).collect();
            let mut choices = crate::Choices::from_seed(order);
            for at in (1..segments.len()).rev() {
                segments.swap(at, choices.below(at + 1));
            }
            let mut direction = Direction::default();
            direction.begin(start);
            let mut found = Vec::new();
            for (at, length) in segments {
                let at = at.min(stream.len());
                let payload = &stream[at..stream.len().min(at + length)];
                let ends = at + payload.len() == stream.len();
                let sequence = start.wrapping_add(at as u32);
                found.extend(direction.segment(sequence, payload, ends, MOST));
            }
            prop_assert!(direction.is_ended() && direction.cost() == 0);
            prop_assert_eq!(octets(found), stream);
        }
    }

    #[test]
    fn a_gap_is_told_at_the_end_or_when_too_much_waits() {
        let mut direction = Direction::default();
        direction.begin(u32::MAX);
        assert_eq!(direction.segment(u32::MAX, b"ab", false, MOST), [Part::Octets("ab".into())]);
        assert_eq!(direction.segment(4, b"ef", false, MOST), []);
        assert_eq!(direction.finish(), [Part::Gap(3), Part::Octets("ef".into())]);
        assert_eq!(direction.segment(9, b"g", false, COST), [Part::Gap(3), Part::Octets("g".into())]);
    }

    #[test]
    fn of_octets_that_differ_the_first_count() {
        let mut direction = Direction::default();
        direction.begin(0);
        direction.segment(2, b"cd", false, MOST);
        direction.segment(2, b"CDe", false, MOST);
        assert_eq!(octets(direction.segment(0, b"abX", false, MOST)), b"abXde");
    }
}
