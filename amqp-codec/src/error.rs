//! What can be wrong with bytes that are read, or with a value that is to be written.

use nom::error::{ErrorKind, ParseError};

use crate::reply::ReplyCode;

/// The one error of this crate. It names what was wrong, where, and which limit was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes of a connection are not an AMQP protocol header.
    #[error("not an AMQP peer: it opened with {0:02x?}")]
    NotAmqp([u8; 8]),
    /// The frame's first byte is none of 1 (method), 2 (header), 3 (body) and 8 (heartbeat).
    #[error("unknown frame type {0}")]
    UnknownFrameType(u8),
    /// The frame announces more bytes than frame_max allows. The 7-byte frame header alone decides
    /// this.
    #[error("a frame of {size} bytes is over the frame_max of {limit}")]
    FrameTooLarge {
        /// The whole frame: header, payload and end marker.
        size: u64,
        /// The frame_max in force.
        limit: u64,
    },
    /// The frame does not end with the octet 0xCE.
    #[error("the frame ends with {0:#04x}, not 0xce")]
    BadFrameEnd(u8),
    /// A heartbeat has no payload, and is on channel 0 (section 4.2.7 of the specification).
    #[error("a heartbeat on channel {channel} with {length} bytes of payload")]
    MalformedHeartbeat {
        /// The channel of the frame.
        channel: u16,
        /// The length of its payload, in bytes.
        length: usize,
    },
    /// A field reaches past the end of what holds it.
    #[error("{what} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The field.
        what: &'static str,
        /// How many bytes it needs.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// Bytes are left over after the last field.
    #[error("{count} bytes are left over after {what}")]
    TrailingBytes {
        /// The item that was complete before the bytes ended.
        what: &'static str,
        /// How many bytes follow.
        count: usize,
    },
    /// No such class or method.
    #[error("unknown method {class_id}.{method_id}")]
    UnknownMethod {
        /// The class.
        class_id: u16,
        /// The method within it.
        method_id: u16,
    },
    /// A field table or array holds a value of an undefined type.
    #[error("unknown field type {0:#04x}")]
    UnknownFieldType(u8),
    /// Tables and arrays are nested deeper than the cap.
    #[error("field tables are nested deeper than {limit}")]
    TooDeep {
        /// The cap.
        limit: u8,
    },
    /// The property flags name a property that basic does not have.
    #[error("unknown property flags {0:#06x}")]
    UnknownPropertyFlags(u16),
    /// A short string holds at most 255 bytes.
    #[error("{what} is {length} bytes long; a short string holds at most 255")]
    ShortStringTooLong {
        /// The field.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A value to be written is longer than its length field can say (4 GiB), than a frame may be,
    /// or than a limit given.
    #[error("{what} is {length} bytes long; the limit is {limit}")]
    TooLong {
        /// The field.
        what: &'static str,
        /// Its length in bytes.
        length: u64,
        /// The most it may have.
        limit: u64,
    },
    /// A frame came that the protocol does not allow at this point.
    #[error("expected {expected}, got {got}")]
    UnexpectedFrame {
        /// What the protocol allows here.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// A frame other than `channel.open` came on a channel that is not open.
    #[error("the channel is not open")]
    ChannelNotOpen,
    /// More body arrived than the content header announced.
    #[error("{received} bytes of body arrived, {announced} were announced")]
    BodyTooLong {
        /// What the content header announced.
        announced: u64,
        /// How many bytes arrived.
        received: u64,
    },
    /// The limits that the peer offers cannot be used.
    #[error("the peer offers a frame_max of {0}; the protocol's minimum is 4096")]
    FrameMaxTooSmall(u32),
    /// A method of class connection came on a channel, or another method came on channel 0.
    #[error("{method} cannot be on channel {channel}")]
    WrongChannel {
        /// The method.
        method: &'static str,
        /// The channel it is on.
        channel: u16,
    },
    /// A login response could not be read.
    #[error("malformed {0} response")]
    MalformedSasl(&'static str),
    /// One of nom's own parsers, combined with those of [`parse`](crate::parse), refused what it
    /// was given.
    #[error("what begins {left} bytes before the end is refused by nom's {kind:?}")]
    Refused {
        /// The parser that refused.
        kind: ErrorKind,
        /// How many bytes were left where it began, counted to the end of the input.
        left: usize,
    },
}

/// Lets the parsers of this crate be combined with nom's.
impl ParseError<&[u8]> for Error {
    fn from_error_kind(input: &[u8], kind: ErrorKind) -> Self {
        Error::Refused { kind, left: input.len() }
    }

    /// Keeps the first error, which is more precise than that of an enclosing parser.
    fn append(_input: &[u8], _kind: ErrorKind, other: Self) -> Self {
        other
    }
}

impl Error {
    /// The code to close with when a peer's bytes caused this error.
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Error::NotAmqp(_)
            | Error::UnknownFrameType(_)
            | Error::FrameTooLarge { .. }
            | Error::BadFrameEnd(_)
            | Error::MalformedHeartbeat { .. } => ReplyCode::FRAME_ERROR,
            Error::UnexpectedFrame { .. } | Error::BodyTooLong { .. } => ReplyCode::UNEXPECTED_FRAME,
            Error::ChannelNotOpen => ReplyCode::CHANNEL_ERROR,
            Error::UnknownMethod { .. } => ReplyCode::NOT_IMPLEMENTED,
            Error::FrameMaxTooSmall(_) => ReplyCode::NOT_ALLOWED,
            Error::WrongChannel { .. } => ReplyCode::COMMAND_INVALID,
            Error::Truncated { .. }
            | Error::TrailingBytes { .. }
            | Error::UnknownFieldType(_)
            | Error::TooDeep { .. }
            | Error::UnknownPropertyFlags(_)
            | Error::ShortStringTooLong { .. }
            | Error::TooLong { .. }
            | Error::MalformedSasl(_)
            | Error::Refused { .. } => ReplyCode::SYNTAX_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_breach_knows_the_code_to_close_with() {
        let truncated = Error::Truncated { what: "x", needed: 2, left: 1 };
        let unexpected = Error::UnexpectedFrame { expected: "x", got: "y" };
        for (error, code) in [
            (Error::UnknownFrameType(9), 501),
            (Error::BadFrameEnd(0), 501),
            (Error::FrameTooLarge { size: 2, limit: 1 }, 501),
            (Error::MalformedHeartbeat { channel: 1, length: 0 }, 501),
            (truncated, 502),
            (Error::UnknownFieldType(b'?'), 502),
            (Error::WrongChannel { method: "queue.bind", channel: 0 }, 503),
            (Error::ChannelNotOpen, 504),
            (unexpected, 505),
            (Error::UnknownMethod { class_id: 60, method_id: 99 }, 540),
        ] {
            assert_eq!(error.reply_code(), ReplyCode(code), "{error}");
        }
    }
}
