//! Counts of a connection.

/// What a connection has done since it was opened, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Bytes handed to the transport, or about to be.
    pub bytes_sent: u64,
    /// Bytes of whole frames received.
    pub bytes_received: u64,
    /// Frames queued to be sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Messages queued to be sent.
    pub messages_published: u64,
    /// Messages received: deliveries and fetched messages.
    pub messages_received: u64,
    /// Publishes in confirm mode that the broker has confirmed, returned ones included.
    pub messages_confirmed: u64,
    /// Publishes in confirm mode that the broker has refused.
    pub messages_nacked: u64,
    /// Deliveries that the user has acked.
    pub messages_acked: u64,
    /// Messages that the broker returned.
    pub messages_returned: u64,
    /// How often the connection was lost with recovery enabled.
    pub reconnects: u64,
    /// Open channels.
    pub channels: usize,
    /// Publishes in confirm mode that the broker has not answered.
    pub unconfirmed: usize,
    /// Deliveries that the user has not settled.
    pub unacked: usize,
    /// Calls that the broker has not answered, or whose answer has not been fetched yet.
    pub calls: usize,
    /// Futures that wait for anything else: room to publish, a flush, a drain, an end.
    pub waiting: usize,
    /// Outgoing bytes that the driver has not taken yet.
    pub buffered: usize,
}
