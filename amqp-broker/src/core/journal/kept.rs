//! How a message survives the process.

/// Whether a message survives the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept(u16);

impl Kept {
    pub(crate) const NO: Kept = Kept(0);
    /// Whatever else does.
    pub(crate) const YES: Kept = Kept(1);
    /// With what else is in the first group.
    pub(crate) const FIRST: Kept = Kept(2);

    #[inline]
    pub(crate) fn is_kept(self) -> bool {
        self != Self::NO
    }

    /// With what else is in a group, of which it is not known whether it is still open.
    #[inline]
    pub(crate) fn is_in_group(self) -> bool {
        self >= Self::FIRST
    }

    /// With what else is in the next group; after the last number comes the first again.
    pub(crate) fn next(self) -> Self {
        Kept(self.0.wrapping_add(1)).max(Self::FIRST)
    }
}
