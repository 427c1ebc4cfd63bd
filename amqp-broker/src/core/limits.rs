//! How much of it there may be in a virtual host.

/// How much of it there may be in a virtual host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queues: usize,
    /// The predeclared ones not counted.
    pub(crate) exchanges: usize,
    /// Those by which every queue is bound to the default exchange not counted.
    pub(crate) bindings: usize,
    /// Consumers of a channel.
    pub(crate) consumers: usize,
    /// Unacknowledged deliveries of a channel.
    pub(crate) unacked: u32,
    /// How long a delivery may be out unacknowledged, in milliseconds; [`u64::MAX`] is for ever.
    pub(crate) ack_timeout: u64,
    /// Dead letters that may come of one publish.
    pub(crate) letters: u32,
    /// Bytes that all of it may take.
    pub(crate) memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            queues: usize::MAX,
            exchanges: usize::MAX,
            bindings: usize::MAX,
            consumers: usize::MAX,
            unacked: u32::MAX,
            ack_timeout: 30 * 60 * 1000,
            letters: 100_000,
            memory: u64::MAX,
        }
    }
}
