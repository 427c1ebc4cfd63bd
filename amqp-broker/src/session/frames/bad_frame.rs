//! RabbitMQ's words for frames that are none, or out of place.

use amqp_codec::{Error, FRAME_OVERHEAD, FrameHeader, FrameKind, frame::HEADER_LEN, method::connection};

use crate::core::rabbitmq::{refusal::Refusal, term::binary};

/// The octets of a frame that are shown to who sent it.
const SHOWN: usize = 16;
/// A method's class and number, before its arguments.
const METHOD_ID: usize = 4;
/// The octets that the methods of the connection begin with.
const CONNECTION_CLASS: [u8; 2] = connection::CLASS_ID.to_be_bytes();

/// The octets by which a frame may be longer than what was agreed on: as RabbitMQ does, `frame_max`
/// is held against the payload alone, though by section 4.2.3 header and end count too.
pub(crate) const LENIENCY: usize = FRAME_OVERHEAD;

/// A frame that the connection itself has no use for.
pub(crate) fn out_of_place(header: FrameHeader, payload: &[u8]) -> Refusal {
    Refusal::UnexpectedFrame(format!("type {}, {}", header.kind.octet(), octets(header, payload)).into())
}

/// A frame whose last octet is wrong. Where the frame is longer than it says, that octet is one of
/// its arguments.
fn bad_end(header: FrameHeader, payload: &[u8], end: u8) -> String {
    let (kind, shown) = (header.kind.octet(), octets(header, payload));
    match is_secret(header, payload) {
        true => format!("type {kind}, {shown}: invalid_frame_end_marker"),
        false => format!("type {kind}, {shown}: {{invalid_frame_end_marker,{end}}}"),
    }
}

/// Tells whether it is a method of the connection, whose arguments may be a password (start-ok,
/// secure-ok) or a token (update-secret).
fn is_secret(header: FrameHeader, payload: &[u8]) -> bool {
    header.kind == FrameKind::Method && (header.channel == 0 || payload.starts_with(&CONNECTION_CLASS))
}

/// Shows what is in a frame. Of a method of the connection RabbitMQ shows sixteen octets too, here
/// none of its arguments is shown.
pub(crate) fn octets(header: FrameHeader, payload: &[u8]) -> String {
    let count = if is_secret(header, payload) { METHOD_ID } else { SHOWN };
    match payload.split_at_checked(count) {
        Some((first, [_, ..])) => format!("first {count} octets = {}", binary(first)),
        _ => format!("all octets = {}", binary(payload)),
    }
}

/// What is unread begins with a frame whose first octets are wrong, or the last.
pub(crate) fn bad_frame(error: &Error, unread: &[u8], frame_max: usize) -> Refusal {
    let kind = unread.first().copied().unwrap_or_default();
    let text = match error {
        Error::BadFrameEnd(end) => match FrameHeader::peek(unread, usize::MAX) {
            Ok(Some(header)) => {
                let payload = unread.get(HEADER_LEN..header.frame_len() - 1).unwrap_or_default();
                bad_end(header, payload, *end)
            }
            _ => error.to_string(),
        },
        Error::FrameTooLarge { size, .. } => {
            let overhead = FRAME_OVERHEAD as u64;
            let (size, limit) = (size - overhead, frame_max as u64 - overhead);
            format!("type {kind}, all octets = <<>>: {{frame_too_large,{size},{limit}}}")
        }
        Error::UnknownFrameType(_) => {
            format!("type {kind}, all octets = <<>>: unknown_frame")
        }
        other => other.to_string(),
    };
    Refusal::Frame(text)
}
