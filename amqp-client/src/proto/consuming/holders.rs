//! How many unsettled deliveries each consumer of a channel holds.

/// The holder of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(u16);

impl Holder {
    /// The holder of fetched messages, and of consumers for which there is no number left.
    pub(crate) const NOBODY: Holder = Holder(0);
    /// The highest number.
    pub(crate) const MAX: u16 = u16::MAX - 2;

    pub(crate) fn from_number(number: u16) -> Self {
        Holder(number)
    }

    pub(crate) fn number(self) -> u16 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    unsettled: u32,
    /// Whether a consumer has this number. After the consumer is gone, deliveries may still be held
    /// under it.
    is_taken: bool,
    /// Whether its deliveries are from a stream.
    is_of_stream: bool,
}

#[derive(Debug)]
pub(crate) struct Holders {
    by_number: Vec<Held>,
    /// How many numbers belong to no consumer.
    left: usize,
}

impl Default for Holders {
    fn default() -> Self {
        Holders { by_number: vec![Held { is_taken: true, ..Held::default() }], left: 0 }
    }
}

impl Holders {
    /// Returns a number for a new consumer, with no deliveries.
    pub(crate) fn add(&mut self) -> Holder {
        let is_free = |held: &Held| !held.is_taken && held.unsettled == 0;
        let free = if self.left > 0 { self.by_number.iter().position(is_free) } else { None };
        let number = u16::try_from(free.unwrap_or(self.by_number.len())).unwrap_or(u16::MAX);
        if number > Holder::MAX {
            return Holder::NOBODY;
        }
        let held = Held { is_taken: true, ..Held::default() };
        match self.by_number.get_mut(usize::from(number)) {
            Some(place) => {
                self.left -= 1;
                *place = held;
            }
            None => self.by_number.push(held),
        }
        Holder(number)
    }

    /// Removes the consumer. Its number is free once all its deliveries are settled.
    pub(crate) fn remove(&mut self, holder: Holder) {
        let held = self.by_number.get_mut(usize::from(holder.0));
        if let Some(held) = held.filter(|held| holder != Holder::NOBODY && held.is_taken) {
            held.is_taken = false;
            self.left += 1;
        }
    }

    /// Counts a delivery; returns how many there are now.
    #[inline]
    pub(crate) fn delivered(&mut self, holder: Holder) -> u32 {
        let Some(held) = self.by_number.get_mut(usize::from(holder.0)) else { return 0 };
        held.unsettled = held.unsettled.saturating_add(1);
        held.unsettled
    }

    #[inline]
    pub(crate) fn settled(&mut self, holder: Holder) {
        if let Some(held) = self.by_number.get_mut(usize::from(holder.0)) {
            held.unsettled = held.unsettled.saturating_sub(1);
        }
    }

    /// Notes that this consumer's deliveries are from a stream.
    pub(crate) fn set_of_stream(&mut self, holder: Holder) {
        let held = self.by_number.get_mut(usize::from(holder.0));
        if let Some(held) = held.filter(|_| holder != Holder::NOBODY) {
            held.is_of_stream = true;
        }
    }

    pub(crate) fn is_of_stream(&self, holder: Holder) -> bool {
        self.by_number.get(usize::from(holder.0)).is_some_and(|held| held.is_of_stream)
    }

    /// Forgets all deliveries.
    pub(crate) fn forget(&mut self) {
        self.by_number.iter_mut().for_each(|held| held.unsettled = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_again_when_its_consumer_has_gone_and_all_it_held_is_settled() {
        let mut holders = Holders::default();
        let (one, other) = (holders.add(), holders.add());
        assert_ne!(one, other);
        assert_eq!((holders.delivered(one), holders.delivered(one), holders.delivered(other)), (1, 2, 1));
        holders.remove(one);
        let next = holders.add();
        assert!(next != one && next != other, "what the first held is not the next one's");
        holders.settled(one);
        holders.settled(one);
        assert_eq!(holders.add(), one);
        assert_eq!(holders.delivered(one), 1);
    }

    #[test]
    fn consumers_without_number_have_one_account_that_is_never_given_away() {
        let mut holders = Holders::default();
        for _ in 0..u32::from(Holder::MAX) {
            assert_ne!(holders.add(), Holder::NOBODY);
        }
        assert_eq!(holders.add(), Holder::NOBODY);
        holders.remove(Holder::NOBODY);
        assert_eq!(holders.add(), Holder::NOBODY);
    }

    #[test]
    fn what_is_forgotten_is_held_by_nobody() {
        let mut holders = Holders::default();
        let one = holders.add();
        holders.delivered(one);
        holders.forget();
        assert_eq!(holders.delivered(one), 1);
    }
}
