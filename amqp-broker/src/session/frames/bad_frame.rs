//! RabbitMQ's texts for malformed or unexpected frames.

use amqp_codec::{
    Error, FRAME_OVERHEAD, FrameHeader, FrameKind, MethodId, ShortString,
    frame::{FRAME_END, HEADER_LEN},
    method::connection,
};

use crate::core::rabbitmq::{
    refusal::Refusal,
    term::{binary, digits},
};

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
    beginning(payload, if is_secret(header, payload) { METHOD_ID } else { SHOWN })
}

/// Shows at most so many octets.
fn beginning(payload: &[u8], count: usize) -> String {
    match payload.split_at_checked(count) {
        Some((first, [_, ..])) => format!("first {count} octets = {}", binary(first)),
        _ => format!("all octets = {}", binary(payload)),
    }
}

/// The refusal of the frame at the start of the unread input, whose header or end marker is wrong.
/// It is `None` until a frame of an unknown type has arrived, of which it shows the octets.
pub(crate) fn bad_frame(error: &Error, unread: &[u8], frame_max: usize) -> Option<Refusal> {
    let kind = unread.first().copied().unwrap_or_default();
    let text = match error {
        Error::BadFrameEnd(end) => match FrameHeader::peek(unread, usize::MAX) {
            Ok(Some(header)) => {
                let payload = unread.get(HEADER_LEN..header.frame_len() - 1).unwrap_or_default();
                bad_end(header, payload, *end)
            }
            _ => error.to_string(),
        },
        Error::FrameTooLarge { size, .. } => too_large(kind, size - FRAME_OVERHEAD as u64, frame_max),
        Error::UnknownFrameType(_) => unknown(unread, frame_max)?,
        other => other.to_string(),
    };
    Some(Refusal::Frame(text))
}

fn too_large(kind: u8, size: u64, frame_max: usize) -> String {
    let limit = frame_max - FRAME_OVERHEAD;
    format!("type {kind}, all octets = <<>>: {{frame_too_large,{size},{limit}}}")
}

/// Describes a frame of an unknown type. It is read to its end like any other, and so must not be
/// too large, and must end rightly.
fn unknown(unread: &[u8], frame_max: usize) -> Option<String> {
    let (&[kind, _, _, s3, s2, s1, s0], rest) = unread.split_first_chunk::<HEADER_LEN>()?;
    let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
    if size > frame_max {
        return Some(too_large(kind, size as u64, frame_max));
    }
    let (payload, end) = (rest.get(..size)?, *rest.get(size)?);
    let shown = beginning(payload, SHOWN);
    Some(match end {
        FRAME_END => format!("type {kind}, {shown}: unknown_frame"),
        end => format!("type {kind}, {shown}: {{invalid_frame_end_marker,{end}}}"),
    })
}

/// Refuses a method whose arguments end too early, or do not end. Anything else that is wrong with
/// it is told in other words than RabbitMQ's, which ends the connection without any.
pub(crate) fn unreadable_method(error: Error, channel: u16, payload: &[u8]) -> (Refusal, MethodId) {
    let id = MethodId::peek(payload).filter(|id| id.name().is_some());
    match (&error, id) {
        (Error::Truncated { .. } | Error::TrailingBytes { .. }, Some(_)) if channel == 0 => {
            (Refusal::Internal, MethodId::default())
        }
        // The arguments may be a secret.
        (Error::Truncated { .. } | Error::TrailingBytes { .. }, Some(id))
            if id.class_id != connection::CLASS_ID =>
        {
            // No more of them fits into the text.
            let arguments = payload.get(METHOD_ID..).unwrap_or_default();
            let arguments = arguments.get(..ShortString::MAX).unwrap_or(arguments);
            (Refusal::Frame(format!("cannot decode {}", digits(arguments))), id)
        }
        _ => (Refusal::Syntax(error), MethodId::default()),
    }
}
