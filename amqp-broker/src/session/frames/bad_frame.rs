//! RabbitMQ's texts for malformed or unexpected frames.

use amqp_codec::{Error, FRAME_OVERHEAD, FrameHeader, FrameKind, frame::HEADER_LEN, method::connection};

use crate::core::rabbitmq::{refusal::Refusal, term::binary};

/// How many octets of a frame are shown to its sender.
const SHOWN: usize = 16;
/// The length of a method id, before the arguments.
const METHOD_ID: usize = 4;
/// The octets with which methods of the connection begin.
const CONNECTION_CLASS: [u8; 2] = connection::CLASS_ID.to_be_bytes();

/// How many octets a frame may exceed the agreed size by: like RabbitMQ the broker applies
/// `frame_max` to the payload alone, though by section 4.2.3 it includes header and end marker.
pub(crate) const LENIENCY: usize = FRAME_OVERHEAD;

/// A frame that is not allowed on channel 0.
pub(crate) fn out_of_place(header: FrameHeader, payload: &[u8]) -> Refusal {
    Refusal::UnexpectedFrame(format!("type {}, {}", header.kind.octet(), octets(header, payload)).into())
}

/// Describes a frame with a wrong end marker. If the frame is longer than its size says, that octet
/// is one of its arguments.
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

/// Shows a frame's first octets. RabbitMQ shows sixteen of every frame; here the arguments of a
/// method of the connection are hidden.
pub(crate) fn octets(header: FrameHeader, payload: &[u8]) -> String {
    let count = if is_secret(header, payload) { METHOD_ID } else { SHOWN };
    match payload.split_at_checked(count) {
        Some((first, [_, ..])) => format!("first {count} octets = {}", binary(first)),
        _ => format!("all octets = {}", binary(payload)),
    }
}

/// The refusal of the frame at the start of the unread input, whose header or end marker is wrong.
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
