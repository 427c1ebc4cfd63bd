//! Commands to a connection from others than its client.

use amqp_codec::{ReplyCode, ShortString};

/// A command to a connection from another than its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Drop the stream without a close.
    Drop,
    /// Close the connection because the broker ends.
    ShutDown,
    /// Close the connection with this code and text.
    Close { code: ReplyCode, text: ShortString },
    /// Close a channel with this code and text.
    CloseChannel { number: u16, code: ReplyCode, text: ShortString },
}

/// The beginning of a text, cut to the length of a short string.
pub(crate) fn cut(text: &str) -> ShortString {
    let mut end = text.len().min(ShortString::MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::try_from(text.get(..end).unwrap_or_default()).unwrap_or_default()
}
