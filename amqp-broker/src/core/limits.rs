//! How much of it there may be in a virtual host.

/// How much of it there may be in a virtual host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queues: usize,
    /// Unacknowledged deliveries of a channel.
    pub(crate) unacked: u32,
    /// How long a delivery may be out unacknowledged, in milliseconds; [`u64::MAX`] is for ever.
    pub(crate) ack_timeout: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { queues: usize::MAX, unacked: u32::MAX, ack_timeout: 30 * 60 * 1000 }
    }
}
