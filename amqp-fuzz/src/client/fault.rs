//! What a broker did wrong, as far as its client can tell.

use amqp_codec::{MethodId, ReplyCode, ShortString};

/// Something that a broker does not do while its client behaves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A channel or the connection was closed, although the client had done nothing wrong, or
    /// with another code than the one expected.
    #[error("channel {channel} was closed with {code} ({text}), expected was {}",
        .expected.map_or("nothing of the kind".to_owned(), |code| code.to_string()))]
    Closed {
        /// The channel; 0 for the connection.
        channel: u16,
        /// The reply code that came.
        code: ReplyCode,
        /// The reply text that came.
        text: ShortString,
        /// The reply code that was expected.
        expected: Option<ReplyCode>,
    },
    /// An answer that no request waits for.
    #[error("{} on channel {channel}, which no request waits for", .method.name().unwrap_or("a method"))]
    Unasked {
        /// The channel.
        channel: u16,
        /// The answer.
        method: MethodId,
    },
    /// An answer to a request that had to be refused.
    #[error("{} on channel {channel}, where a close with {expected} was expected", .method.name().unwrap_or("a method"))]
    NotRefused {
        /// The channel.
        channel: u16,
        /// The answer.
        method: MethodId,
        /// The reply code of the close that did not come.
        expected: ReplyCode,
    },
    /// A delivery tag that does not follow the last one.
    #[error("delivery tag {got} on channel {channel}, expected was {expected}")]
    DeliveryTag {
        /// The channel.
        channel: u16,
        /// The tag that came.
        got: u64,
        /// The last tag and one.
        expected: u64,
    },
    /// A confirm for a publish that there is not, or that is confirmed already.
    #[error("a confirm of publish {tag} on channel {channel}, which is not open")]
    Confirm {
        /// The channel.
        channel: u16,
        /// The publish's number on its channel.
        tag: u64,
    },
    /// Content that does not belong there: no method before it, or more than was announced.
    #[error("content on channel {channel} that does not belong there")]
    Content {
        /// The channel.
        channel: u16,
    },
    /// A frame of a channel that is not open.
    #[error("a frame on channel {channel}, which is not open")]
    NoChannel {
        /// The channel.
        channel: u16,
    },
}
