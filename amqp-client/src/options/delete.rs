//! How to delete.

/// On which conditions an exchange or queue is deleted. Default: on none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub(crate) if_unused: bool,
    pub(crate) if_empty: bool,
}

impl DeleteOptions {
    /// On no condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only when a queue has no consumers, an exchange no bindings.
    pub fn if_unused(mut self, condition: bool) -> Self {
        self.if_unused = condition;
        self
    }

    /// Only when a queue has no messages.
    pub fn if_empty(mut self, condition: bool) -> Self {
        self.if_empty = condition;
        self
    }
}
