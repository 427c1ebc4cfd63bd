//! What is to happen in place of a publish.

/// What is to happen in place of a publish, which gets into no queue: see [`Faults::at_publish`](crate::Faults::at_publish). Publishes before it
/// are done and answered, whatever comes behind it on what ends is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishFault {
    /// Its connection ends without a word.
    DropConnection,
    /// Its connection is closed with this code and text, cut to 255 bytes.
    CloseConnection {
        /// Such as 320.
        code: u16,
        /// Such as `CONNECTION_FORCED - maintenance`.
        text: String,
    },
    /// Its channel is closed with this code and text, cut to 255 bytes.
    CloseChannel {
        /// Such as 406.
        code: u16,
        /// Such as `PRECONDITION_FAILED - because`.
        text: String,
    },
    /// It is nacked. On a channel that is not in confirm mode it is merely lost.
    Nack,
    /// It comes back with 312 NO_ROUTE, and is confirmed after that. One that is not mandatory is merely lost.
    Return,
}
