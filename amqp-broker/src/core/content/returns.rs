//! The number of times that a message returned to a quorum queue.

/// A number of returns. Either all of them count towards the delivery limit, or failures are
/// counted
/// apart from the others; both are in one number, because millions of messages may have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Returns(u32);

impl Returns {
    pub(crate) const NONE: Returns = Returns(0);

    /// Set when failures are counted apart: they are in the upper half, and all in the lower.
    const APART: u32 = 1 << 31;
    const LOWER: u32 = 0xffff;

    /// So many returns, all of which count.
    pub(crate) fn of(count: u32) -> Self {
        Returns(count.min(Self::APART - 1))
    }

    /// So many returns, which all were failures, counted apart.
    pub(crate) fn failures(count: u32) -> Self {
        Self::apart(count, count)
    }

    fn apart(failures: u32, all: u32) -> Self {
        // Beyond 32,767 and 65,535 nothing is counted.
        Returns(Self::APART | failures.min(0x7fff) << 16 | all.min(Self::LOWER))
    }

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of returns that count towards the delivery limit.
    pub(crate) fn counted(self) -> u32 {
        if self.0 & Self::APART == 0 { self.0 } else { (self.0 & !Self::APART) >> 16 }
    }

    /// Returns the number of all returns, where only failures count.
    pub(crate) fn all(self) -> Option<u32> {
        (self.0 & Self::APART != 0).then_some(self.0 & Self::LOWER)
    }

    /// One more return, which counts.
    pub(crate) fn and_one(self) -> Self {
        Self::of(self.counted().saturating_add(1))
    }

    /// One more return, which only counts if it is a failure.
    pub(crate) fn and_one_apart(self, has_failed: bool) -> Self {
        let (failures, all) = (self.counted(), self.all().unwrap_or(self.counted()));
        Self::apart(failures + u32::from(has_failed), all + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_returns_count_or_failures_alone() {
        let twice = Returns::NONE.and_one().and_one();
        assert_eq!((twice.counted(), twice.all()), (2, None));
        let mixed = Returns::NONE.and_one_apart(false).and_one_apart(true).and_one_apart(false);
        assert_eq!((mixed.counted(), mixed.all()), (1, Some(3)));
        let restored = Returns::failures(4).and_one_apart(true);
        assert_eq!((restored.counted(), restored.all()), (5, Some(5)));
        assert!(Returns::NONE.is_none() && !Returns::NONE.and_one_apart(false).is_none());
    }

    #[test]
    fn no_number_runs_over_into_the_other() {
        let mut returns = Returns::of(u32::MAX).and_one();
        assert_eq!((returns.counted(), returns.all()), (u32::MAX >> 1, None));
        returns = Returns::failures(u32::MAX);
        for has_failed in [true, false] {
            returns = returns.and_one_apart(has_failed);
            assert_eq!((returns.counted(), returns.all()), (0x7fff, Some(0xffff)));
        }
    }
}
