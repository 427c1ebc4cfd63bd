//! The budget of a turn: how much is done under a virtual host's lock before others get their turn, counted in work and not in
//! time.

/// The most work of a turn. A unit is a message put into a queue, a delivery settled, a binding looked at, a word of a pattern
/// matched, or a KiB copied: about a tenth of a microsecond. A whole read of small publishes is less.
pub(crate) const BUDGET: u64 = 8192;

/// What has been done in this turn, and whether that is enough.
#[derive(Debug)]
pub(crate) struct Budget {
    bound: u64,
    spent: u64,
    /// The most that any turn took.
    most: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bound: BUDGET, spent: 0, most: 0 }
    }
}

impl Budget {
    /// Somebody has the lock anew.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.most = self.most.max(self.spent);
        self.spent = 0;
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

    /// Whether others are to get their budget.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.spent >= self.bound
    }

    /// Ends turns after so much work.
    #[cfg(test)]
    pub(crate) fn set_bound(&mut self, bound: u64) {
        self.bound = bound;
    }

    /// The most that any turn took.
    #[cfg(test)]
    pub(crate) fn most(&self) -> u64 {
        self.most.max(self.spent)
    }
}
