//! The limits of a virtual host.

/// The limits of a virtual host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queues: usize,
    /// The number of exchanges, without the predeclared ones.
    pub(crate) exchanges: usize,
    /// The number of bindings, without those of every queue to the default exchange.
    pub(crate) bindings: usize,
    /// The number of consumers of a channel.
    pub(crate) consumers: usize,
    /// The number of unacknowledged deliveries of a channel.
    pub(crate) unacked: u32,
    /// How long a delivery may stay unacknowledged, in milliseconds; [`u64::MAX`] is no limit.
    pub(crate) ack_timeout: u64,
    /// The number of dead letters that may stem from one publish.
    pub(crate) letters: u32,
    /// The memory of the whole virtual host, in bytes.
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
