//! What somebody else than its client wants of a connection.

use amqp_codec::{ReplyCode, ShortString};

/// What somebody else than its client wants of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// To end without a word.
    Drop,
    /// To close because the broker ends.
    ShutDown,
    /// To close, saying this.
    Close { code: ReplyCode, text: ShortString },
    /// To close a channel, saying this.
    CloseChannel { number: u16, code: ReplyCode, text: ShortString },
}

/// As much of a text as a short string holds.
pub(crate) fn cut(text: &str) -> ShortString {
    let mut end = text.len().min(ShortString::MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::try_from(text.get(..end).unwrap_or_default()).unwrap_or_default()
}
