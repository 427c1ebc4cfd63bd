//! Whether a message is persistent, and in which group.

/// Whether a message survives a restart, and with which transaction it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept(u16);

impl Kept {
    pub(crate) const NO: Kept = Kept(0);
    /// It is persistent.
    pub(crate) const YES: Kept = Kept(1);
    /// It is persistent and belongs to the first group.
    pub(crate) const FIRST: Kept = Kept(2);

    #[inline]
    pub(crate) fn is_kept(self) -> bool {
        self != Self::NO
    }

    /// Whether it belongs to a group, which may be closed by now.
    #[inline]
    pub(crate) fn is_in_group(self) -> bool {
        self >= Self::FIRST
    }

    /// The key of the next group; the first follows the last.
    pub(crate) fn next(self) -> Self {
        Kept(self.0.wrapping_add(1)).max(Self::FIRST)
    }
}
