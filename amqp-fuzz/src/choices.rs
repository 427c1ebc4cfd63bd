//! Where decisions come from: the bytes of a fuzzer, or a seed.

use arbitrary::{Arbitrary, Unstructured};

/// A source of decisions. Equal sources make equal decisions.
///
/// A fuzzer's bytes are used first, so that a change of one byte changes one decision. When they
/// are spent, the decisions follow from a generator that the bytes have seeded, so that a short
/// input makes a session as long as any.
///
/// ```
/// use amqp_fuzz::Choices;
///
/// let mut choices = Choices::from_bytes(&[7, 1]);
/// assert_eq!((choices.below(4), choices.is_spent()), (3, false));
/// choices.octet();
/// assert!(choices.is_spent());
/// assert!(choices.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    input: &'a [u8],
    state: u64,
}

impl<'a> Choices<'a> {
    /// Decides by these bytes.
    pub fn from_bytes(input: &'a [u8]) -> Self {
        // FNV-1a: equal inputs give equal seeds on every machine.
        let hash = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        Choices { input, state: input.iter().fold(0xcbf2_9ce4_8422_2325, hash) }
    }

    /// Decides by what is left of `unstructured`, and takes all of it.
    pub fn from_unstructured(unstructured: &mut Unstructured<'a>) -> Self {
        Self::from_bytes(unstructured.bytes(unstructured.len()).unwrap_or_default())
    }

    /// Returns whether the input is spent, or there was none.
    pub fn is_spent(&self) -> bool {
        self.input.is_empty()
    }

    /// Returns an octet.
    pub fn octet(&mut self) -> u8 {
        match self.input.split_first() {
            Some((&first, rest)) => {
                self.input = rest;
                first
            }
            None => (self.next() >> 56) as u8,
        }
    }

    /// Returns a number below `end`, and 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = match end {
            0 | 1 => return 0,
            2..=0x100 => usize::from(self.octet()),
            _ if self.is_spent() => self.next() as usize,
            0x101..=0x1_0000 => usize::from(u16::from_be_bytes([self.octet(), self.octet()])),
            _ => u32::from_be_bytes(std::array::from_fn(|_| self.octet())) as usize,
        };
        number % end
    }

    /// Returns true once in `count` times.
    pub fn one_in(&mut self, count: usize) -> bool {
        // The highest remainder: an input of zeros is an input without exceptions.
        count > 0 && self.below(count) == count - 1
    }

    /// Returns one of these; `None` when there is none.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        from.get(self.below(from.len()))
    }

    /// Returns one of many bits: a number whose size is chosen first, so that small ones are as
    /// frequent as large ones.
    pub fn number(&mut self) -> u64 {
        const EDGES: [u64; 9] =
            [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff];
        match self.below(4) {
            0 => EDGES.get(self.below(EDGES.len())).copied().unwrap_or_default(),
            1 => u64::from(self.octet()),
            2 => self.below(0x1_0000) as u64,
            _ => u64::from_be_bytes(std::array::from_fn(|_| self.octet())),
        }
    }

    /// Returns `length` octets.
    pub fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.octet()).collect()
    }

    /// Makes any value of a type out of at most `most` octets; `None` when they are too few.
    pub fn arbitrary<T: for<'b> Arbitrary<'b>>(&mut self, most: usize) -> Option<T> {
        let material = self.octets(most);
        Unstructured::new(&material).arbitrary().ok()
    }

    /// Returns a number that no call returned before, without spending the input.
    pub(crate) fn unique(&mut self) -> u64 {
        self.next()
    }

    /// SplitMix64, whose every state is a good one.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Choices<'static> {
    /// Decides by a generator with this seed.
    pub fn from_seed(seed: u64) -> Self {
        Choices { input: &[], state: seed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_decide_equally_after_they_are_spent_too() {
        let decide = |mut choices: Choices<'_>| (0..50).map(|_| choices.number()).collect::<Vec<_>>();
        assert_eq!(decide(Choices::from_bytes(b"abc")), decide(Choices::from_bytes(b"abc")));
        assert_ne!(decide(Choices::from_bytes(b"abc")), decide(Choices::from_bytes(b"abd")));
        assert_ne!(decide(Choices::from_seed(1)), decide(Choices::from_seed(2)));
    }

    #[test]
    fn every_number_below_the_end_is_chosen_and_none_beyond() {
        for end in [1, 2, 7, 256, 300] {
            let mut choices = Choices::from_seed(end as u64);
            let chosen: std::collections::BTreeSet<_> = (0..end * 40).map(|_| choices.below(end)).collect();
            assert_eq!((chosen.len(), chosen.last().copied()), (end, Some(end - 1)), "{end}");
        }
    }
}
