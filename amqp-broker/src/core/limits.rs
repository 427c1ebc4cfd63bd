//! How much of it there may be in a virtual host.

/// How much of it there may be in a virtual host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queues: usize,
    /// Unacknowledged deliveries of a channel.
    pub(crate) unacked: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { queues: usize::MAX, unacked: u32::MAX }
    }
}
