//! Policies that are being applied.

/// How far the policies are applied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PolicyCursor {
    /// The number of the change after which they are.
    pub(crate) version: u64,
    /// The places of the next exchange and the next queue.
    pub(crate) exchange: usize,
    pub(crate) queue: usize,
}
