//! A chunk: the whole frames of one read, and where things are in it.

use std::ops::Range;

use amqp_codec::{
    Error as CodecError, FrameHeader, FrameKind, borrowed, content,
    frame::{FRAME_END, HEADER_LEN},
    method::basic,
};
use bytes::Bytes;

/// Kind, channel and place of the payload of one frame in a chunk.
pub(crate) struct Located {
    pub(crate) kind: FrameKind,
    pub(crate) channel: u16,
    pub(crate) payload: Range<usize>,
}

impl Located {
    #[inline]
    pub(crate) fn at(chunk: &Bytes, at: usize) -> Result<Self, CodecError> {
        let bytes = chunk.get(at..).unwrap_or_default();
        let truncated = || CodecError::Truncated { what: "frame", needed: HEADER_LEN, left: bytes.len() };
        let header = FrameHeader::peek(bytes, usize::MAX)?.ok_or_else(truncated)?;
        let payload = at + HEADER_LEN..at + HEADER_LEN + header.size as usize;
        match chunk.get(payload.end) {
            Some(&FRAME_END) => Ok(Located { kind: header.kind, channel: header.channel, payload }),
            Some(&other) => Err(CodecError::BadFrameEnd(other)),
            None => Err(truncated()),
        }
    }
}

/// The largest frame of a content header that is read, whatever was agreed on: RabbitMQ holds frame_max against the headers it is sent, and
/// not against those it sends to a client that has agreed on less.
const HEADER_FRAME_MAX: usize = 1024 * 1024;

/// How many bytes at the front are whole frames, and what is wrong with what follows them.
pub(crate) fn whole_frames(buffer: &[u8], frame_max: usize) -> (usize, Option<CodecError>) {
    let mut whole = 0;
    loop {
        let rest = buffer.get(whole..).unwrap_or_default();
        match FrameHeader::peek(rest, frame_max.max(HEADER_FRAME_MAX)) {
            Ok(Some(header)) if header.frame_len() > frame_max && header.kind != FrameKind::Header => {
                let (size, limit) = (header.frame_len() as u64, frame_max as u64);
                return (whole, Some(CodecError::FrameTooLarge { size, limit }));
            }
            Ok(Some(header)) if header.frame_len() <= rest.len() => whole += header.frame_len(),
            Ok(_) => return (whole, None),
            Err(error) => return (whole, Some(error)),
        }
    }
}

pub(crate) fn is_deliver(chunk: &[u8], payload: &Range<usize>) -> bool {
    chunk.get(payload.clone()).is_some_and(|payload| payload.starts_with(&borrowed::DELIVER))
}

/// Header and body frame behind a method frame.
pub(crate) struct Ahead {
    pub(crate) properties: Range<usize>,
    pub(crate) body: Range<usize>,
    pub(crate) next: usize,
}

/// Header and the one body frame at `at`, when both are in the chunk and whole. `None` sends the content the long way,
/// where every error is found.
#[inline]
pub(crate) fn look_ahead(channel: u16, chunk: &[u8], at: usize, frame_max: usize) -> Option<Ahead> {
    let header = peek(channel, chunk, at, frame_max, FrameKind::Header)?;
    let payload = chunk.get(header.clone())?;
    if !payload.starts_with(&basic::CLASS_ID.to_be_bytes()) {
        return None;
    }
    let body_size = u64::from_be_bytes(*payload.get(4..)?.first_chunk()?);
    let properties = header.start + content::CONTENT_HEADER_LEN..header.end;
    if properties.start > properties.end {
        return None;
    }
    let after = header.end + 1;
    if body_size == 0 {
        return Some(Ahead { properties, body: after..after, next: after });
    }
    let body = peek(channel, chunk, after, frame_max, FrameKind::Body)?;
    (body.len() as u64 == body_size).then(|| Ahead { properties, next: body.end + 1, body })
}

/// Where the payload of the frame at `at` lies, when it is of this kind, on this channel and whole.
#[inline]
fn peek(channel: u16, chunk: &[u8], at: usize, frame_max: usize, kind: FrameKind) -> Option<Range<usize>> {
    let header = FrameHeader::peek(chunk.get(at..)?, frame_max).ok()??;
    let payload = at + HEADER_LEN..at + HEADER_LEN + header.size as usize;
    let whole = chunk.get(payload.end) == Some(&FRAME_END);
    (whole && header.kind == kind && header.channel == channel).then_some(payload)
}
