//! Direct replies that were dropped.

/// The direct replies that were dropped since this was last logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LostReplies {
    /// Replies to a client with too many unread ones.
    pub(crate) unread: u64,
    /// Replies to a client that is gone, or no longer waits for any.
    pub(crate) too_late: u64,
}

impl LostReplies {
    #[inline]
    pub(crate) fn are_none(self) -> bool {
        self.unread == 0 && self.too_late == 0
    }
}
