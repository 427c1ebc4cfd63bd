//! The budget of a turn: how much is done under a virtual host's lock before others get their turn,
//! counted in work and not in time.

/// The most work of a turn. A unit is a message put into a queue, a delivery settled, a binding
/// looked at, a word of a pattern matched, or a KiB copied: about a tenth of a microsecond. A whole
/// read of small publishes is less.
pub(crate) const BUDGET: u64 = 8192;

/// The least work of a turn, however many wait: to hand the lock over costs something, too.
const LEAST: u64 = BUDGET / 16;

/// What has been done in this turn, and whether that is enough.
#[derive(Debug)]
pub(crate) struct Budget {
    /// How much may be done in a turn by who does not share it.
    bound: u64,
    /// How much may be done in this turn.
    most_now: u64,
    /// How many have waited at once since nobody did.
    sharing: u64,
    spent: u64,
    /// The most that any turn took.
    most: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bound: BUDGET, most_now: BUDGET, sharing: 0, spent: 0, most: 0 }
    }
}

impl Budget {
    /// Somebody has the lock anew, and so many wait for it. They share one turn between them, so
    /// that the last of those who wait at any time waits for one turn besides the one under way.
    #[inline]
    pub(crate) fn begin_before(&mut self, waiting: usize) {
        self.most = self.most.max(self.spent);
        self.spent = 0;
        self.sharing = if waiting == 0 { 0 } else { self.sharing.max(waiting as u64) };
        self.most_now = if self.sharing < 2 { self.bound } else { (self.bound / self.sharing).max(LEAST) };
    }

    /// So much has been done.
    #[inline]
    pub(crate) fn spend(&mut self, work: u64) {
        self.spent += work;
    }

    /// So many octets have been copied or read.
    #[inline]
    pub(crate) fn spend_octets(&mut self, count: usize) {
        self.spent += (count >> 10) as u64;
    }

    /// Tells whether others are to get their budget.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.spent >= self.most_now
    }

    /// Somebody has the lock anew, and nobody waits for it.
    #[cfg(test)]
    pub(crate) fn begin(&mut self) {
        self.begin_before(0);
    }

    /// Ends turns after so much work.
    #[cfg(test)]
    pub(crate) fn set_bound(&mut self, bound: u64) {
        self.bound = bound;
        self.most_now = bound;
    }

    /// The most that any turn took.
    #[cfg(test)]
    pub(crate) fn most(&self) -> u64 {
        self.most.max(self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much those do who have turns one after the other, each to the end, while so many wait
    /// when each of them begins.
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
            // Whether or not others come after.
            assert!(done((1..=count).rev()) <= BUDGET, "{count}");
            assert!(done(vec![count; count]) <= BUDGET, "{count}");
        }
        assert_eq!(done(vec![100; 100]), 100 * LEAST);
        assert_eq!(done([100, 0, 1]), LEAST + 2 * BUDGET);
    }
}
