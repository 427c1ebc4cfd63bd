//! How a message survives the process.

/// Whether a message survives the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept(u8);

impl Kept {
    pub(crate) const NO: Kept = Kept(0);
    /// Whatever else does.
    pub(crate) const YES: Kept = Kept(1);

    #[inline]
    pub(crate) fn is_kept(self) -> bool {
        self != Self::NO
    }

    /// With what else is in this group.
    pub(super) const fn with(group: u8) -> Self {
        Kept(group + 2)
    }

    /// The group, if it is in one.
    #[inline]
    pub(super) const fn group(self) -> Option<u8> {
        self.0.checked_sub(2)
    }
}
