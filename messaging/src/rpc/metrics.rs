//! What a client can tell of its calls.

/// The calls of a transport at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls that wait for their reply.
    pub in_flight: usize,
    /// Replies that came when nobody waited for them any more, since the transport was opened: to calls that were dropped or whose
    /// time was up, or a second time.
    pub late_replies: u64,
}
