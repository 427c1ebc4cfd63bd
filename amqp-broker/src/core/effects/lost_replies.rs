//! Direct replies that were dropped.

/// Direct replies that were dropped, since that was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LostReplies {
    /// Those to one that has too much to read.
    pub(crate) unread: u64,
    /// Those to one that has gone, or does not wait for any.
    pub(crate) too_late: u64,
}

impl LostReplies {
    #[inline]
    pub(crate) fn are_none(self) -> bool {
        self.unread == 0 && self.too_late == 0
    }
}
