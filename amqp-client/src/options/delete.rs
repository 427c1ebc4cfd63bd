//! The options of deletions.

/// The conditions for deleting an exchange or queue. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub(crate) if_unused: bool,
    pub(crate) if_empty: bool,
}

impl DeleteOptions {
    /// Makes options without conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to delete a queue only if it has no consumers, and an exchange only if it has
    /// no bindings.
    pub fn if_unused(mut self, condition: bool) -> Self {
        self.if_unused = condition;
        self
    }

    /// Sets whether to delete a queue only if it has no messages.
    pub fn if_empty(mut self, condition: bool) -> Self {
        self.if_empty = condition;
        self
    }
}
