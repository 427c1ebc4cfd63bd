//! The counts of a transport's calls.

/// The calls of a transport at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls that wait for their reply.
    pub in_flight: usize,
    /// Replies that came when nobody waited for them, since the transport was opened: the call was
    /// dropped, its time was up, or it had a reply already.
    pub late_replies: u64,
}
