//! Counts of a backend on Redis.

/// The work of all clones of a [`Redis`](crate::redis::Redis) since the first was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisMetrics {
    /// Items that are none of kombu's messages: they were put into a list `QUEUE.undecodable`, or
    /// dropped if they came from a fanout exchange.
    pub undecodable: u64,
    /// Messages that were settled when another had already returned them to their queues, because
    /// their claims had lapsed: they are handled twice.
    pub settled_too_late: u64,
}
