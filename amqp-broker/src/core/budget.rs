//! The budget of a turn: how much work is done under a virtual host's lock before others get it. It
//! counts work and not time, so that the core needs no clock.

/// The most work of one turn. A unit is a message put into a queue, a delivery settled, a binding
/// looked at, a word of a pattern matched, or a KiB copied: about a tenth of a microsecond. A whole
/// read of small publishes costs less than this.
pub(crate) const BUDGET: u64 = 8192;

/// The least work of one turn, however many wait: handing the lock over has a cost, too.
const LEAST: u64 = BUDGET / 16;

/// The work done in this turn, and whether that is enough.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The limit of a turn that is not shared.
    bound: u64,
    /// The limit of this turn.
    most_now: u64,
    /// The highest number of waiters since nobody last waited.
    sharing: u64,
    spent: u64,
    /// The most work that any turn did.
    most: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bound: BUDGET, most_now: BUDGET, sharing: 0, spent: 0, most: 0 }
    }
}

impl Budget {
    /// Begins a turn while so many others wait for the lock. They share one turn between them, so
    /// that the last of those who wait at any time waits for one turn besides the current one.
    #[inline]
    pub(crate) fn begin_before(&mut self, waiting: usize) {
        self.most = self.most.max(self.spent);
        self.spent = 0;
        self.sharing = if waiting == 0 { 0 } else { self.sharing.max(waiting as u64) };
        self.most_now = if self.sharing < 2 { self.bound } else { (self.bound / self.sharing).max(LEAST) };
    }

    /// Counts work that has been done.
    #[inline]
    pub(crate) fn spend(&mut self, work: u64) {
        self.spent += work;
    }

    /// Counts octets that have been copied or read.
    #[inline]
    pub(crate) fn spend_octets(&mut self, count: usize) {
        self.spent += (count >> 10) as u64;
    }

    /// Tells whether the turn is over and others are to get the lock.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.spent >= self.most_now
    }

    /// Begins a turn while nobody waits for the lock.
    #[cfg(test)]
    pub(crate) fn begin(&mut self) {
        self.begin_before(0);
    }

    /// Limits turns to this much work.
    #[cfg(test)]
    pub(crate) fn set_bound(&mut self, bound: u64) {
        self.bound = bound;
        self.most_now = bound;
    }

    /// The most work that any turn did.
    #[cfg(test)]
    pub(crate) fn most(&self) -> u64 {
        self.most.max(self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The work of all who take consecutive full turns, with these numbers of waiters as each turn
    /// begins.
    fn done(waiting: impl IntoIterator<Item = usize>) -> u64 {
        let mut budget = Budget::default();
        let turn = |waiting| {
            budget.begin_before(waiting);
            while !budget.is_over() {
                budget.spend(1);
            }
            budget.spent
        };
        waiting.into_iter().map(turn).sum()
    }

    #[test]
    fn who_waits_waits_for_one_turn_however_many_are_before() {
        assert_eq!(done([0]), BUDGET);
        assert_eq!(done([1]), BUDGET);
        for count in 2..=16 {
            // The sum is bounded whether or not others come after.
            assert!(done((1..=count).rev()) <= BUDGET, "{count}");
            assert!(done(vec![count; count]) <= BUDGET, "{count}");
        }
        assert_eq!(done(vec![100; 100]), 100 * LEAST);
        assert_eq!(done([100, 0, 1]), LEAST + 2 * BUDGET);
    }
}
