//! A frame where it lies: borrowed from the bytes it was found in.

use std::ops::Range;

use crate::{
    error::Error,
    frame::frame_header::{FRAME_END, FrameHeader, FrameKind, FrameLimits, HEADER_LEN, frame_header},
    wire::octets::{Mode, Parsed, failed, octets, truncated},
};

/// A whole frame, its payload borrowed and not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// The type.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// What is between header and end marker.
    pub payload: &'a [u8],
    /// Where the payload begins in the bytes that the frame was found in.
    pub(crate) payload_at: usize,
}

impl FrameRef<'_> {
    /// What its first seven octets say.
    #[inline]
    pub const fn header(&self) -> FrameHeader {
        FrameHeader { kind: self.kind, channel: self.channel, size: self.payload.len() as u32 }
    }

    /// Where the payload lies in the bytes that the frame was found in: for who holds those as
    /// [`Bytes`](bytes::Bytes) and wants a share of them.
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        self.payload_at..self.payload_at + self.payload.len()
    }
}

/// A whole frame within the limits.
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
