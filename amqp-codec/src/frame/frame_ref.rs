//! A frame, borrowed from the bytes that hold it.

use std::ops::Range;

use crate::{
    error::Error,
    frame::frame_header::{FRAME_END, FrameHeader, FrameKind, FrameLimits, HEADER_LEN, frame_header},
    wire::octets::{Mode, Parsed, failed, octets, truncated},
};

/// A whole frame. Its payload is borrowed and not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// The type.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// The bytes between the frame header and the end marker.
    pub payload: &'a [u8],
    /// The offset of the payload in the bytes that hold the frame.
    pub(crate) payload_at: usize,
}

impl FrameRef<'_> {
    /// The frame's header: its first seven octets.
    #[inline]
    pub const fn header(&self) -> FrameHeader {
        FrameHeader { kind: self.kind, channel: self.channel, size: self.payload.len() as u32 }
    }

    /// The range of the payload in the bytes that hold the frame. A caller who has those as
    /// [`Bytes`](bytes::Bytes) can slice the payload out without copying.
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        self.payload_at..self.payload_at + self.payload.len()
    }
}

/// Reads a whole frame, which must be within the limits.
#[inline]
pub(crate) fn frame<M: Mode>(limits: FrameLimits) -> impl Fn(&[u8]) -> Parsed<'_, FrameRef<'_>, M::Error> {
    move |input: &[u8]| {
        let (_, FrameHeader { kind, channel, size }) = frame_header::<M>(limits)(input)?;
        let length = HEADER_LEN + size as usize + 1;
        let (rest, whole) = octets::<M>(length, "frame")(input)?;
        let Some((&end, payload)) = whole.get(HEADER_LEN..).and_then(<[u8]>::split_last) else {
            return Err(failed(|| truncated("frame", length, whole)));
        };
        if end != FRAME_END {
            return Err(failed(|| Error::BadFrameEnd(end)));
        }
        Ok((rest, FrameRef { kind, channel, payload, payload_at: HEADER_LEN }))
    }
}
