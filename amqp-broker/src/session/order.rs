//! What somebody else than its client wants of a connection.

use amqp_codec::{ReplyCode, ShortString};

/// What somebody else than its client wants of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// To end without a word.
    Drop,
    /// To close because the broker ends.
    ShutDown,
    /// To close, saying this.
    Close { code: ReplyCode, text: ShortString },
    /// To close a channel, saying this.
    CloseChannel { number: u16, code: ReplyCode, text: ShortString },
}
