//! The first seven octets of a frame (spec section 4.2.3), which give its length: `type:u8
//! channel:u16 size:u32`.

use nom::Streaming;

use crate::{
    error::Error,
    tune::FRAME_OVERHEAD,
    wire::octets::{self, Mode, Parsed, failed, octets, truncated},
};

/// The last octet of every frame.
pub const FRAME_END: u8 = 0xCE;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 7;

/// The type of a frame; the discriminant is the octet on the wire.
///
/// ```
/// use amqp_codec::FrameKind;
///
/// assert_eq!((FrameKind::Heartbeat.octet(), FrameKind::Heartbeat as u8), (8, 8));
/// assert_eq!(FrameKind::from_octet(3), Ok(FrameKind::Body));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// 1: a method.
    Method = 1,
    /// 2: a content header.
    Header = 2,
    /// 3: a part of a content body.
    Body = 3,
    /// 8: a heartbeat.
    Heartbeat = 8,
}

impl FrameKind {
    /// The kind that this octet stands for.
    ///
    /// # Errors
    /// [`Error::UnknownFrameType`].
    #[inline]
    pub const fn from_octet(octet: u8) -> Result<Self, Error> {
        match octet {
            1 => Ok(FrameKind::Method),
            2 => Ok(FrameKind::Header),
            3 => Ok(FrameKind::Body),
            8 => Ok(FrameKind::Heartbeat),
            other => Err(Error::UnknownFrameType(other)),
        }
    }

    /// The octet that stands for this kind on the wire.
    #[inline]
    pub const fn octet(self) -> u8 {
        self as u8
    }

    /// The kind's name in errors.
    pub const fn name(self) -> &'static str {
        match self {
            FrameKind::Method => "a method frame",
            FrameKind::Header => "a content header frame",
            FrameKind::Body => "a content body frame",
            FrameKind::Heartbeat => "a heartbeat frame",
        }
    }
}

/// The header of a frame: its first seven bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The type.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// Length of the payload in bytes.
    pub size: u32,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`; `None` until seven bytes are there.
    ///
    /// # Errors
    /// An unknown type, or a frame over `frame_max`. Both are refused here, before anything is
    /// buffered for the frame.
    #[inline]
    pub fn peek(bytes: &[u8], frame_max: usize) -> Result<Option<Self>, Error> {
        let parsed = octets::streaming(frame_header::<Streaming>(FrameLimits::new(frame_max))(bytes))?;
        Ok(parsed.map(|(_, header)| header))
    }

    /// Length of the whole frame in bytes.
    #[inline]
    pub const fn frame_len(&self) -> usize {
        self.size as usize + FRAME_OVERHEAD
    }
}

/// The largest frames that are read, in bytes: one limit for content headers, one for all other
/// frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    pub(crate) frame_max: usize,
    pub(crate) header_frame_max: usize,
}

impl FrameLimits {
    #[inline]
    pub(crate) const fn new(frame_max: usize) -> Self {
        FrameLimits { frame_max, header_frame_max: frame_max }
    }

    #[inline]
    fn check(self, header: FrameHeader) -> Result<(), Error> {
        let limit = if header.kind == FrameKind::Header { self.header_frame_max } else { self.frame_max };
        if header.frame_len() > limit {
            return Err(Error::FrameTooLarge { size: header.frame_len() as u64, limit: limit as u64 });
        }
        Ok(())
    }
}

/// Reads the header of a frame, which must be within the limits.
#[inline]
pub(crate) fn frame_header<M: Mode>(
    limits: FrameLimits,
) -> impl Fn(&[u8]) -> Parsed<'_, FrameHeader, M::Error> {
    move |input: &[u8]| match octets::<M>(HEADER_LEN, "frame")(input) {
        Ok((rest, octets)) => {
            // The octets are matched by reference: copied out as one array they would be taken
            // apart again.
            let Some(&[kind, c1, c0, s3, s2, s1, s0]) = octets.first_chunk::<HEADER_LEN>() else {
                return Err(failed(|| truncated("frame", HEADER_LEN, octets)));
            };
            let kind = FrameKind::from_octet(kind).map_err(|error| failed(|| error))?;
            let channel = u16::from_be_bytes([c1, c0]);
            let header = FrameHeader { kind, channel, size: u32::from_be_bytes([s3, s2, s1, s0]) };
            limits.check(header).map_err(|error| failed(|| error))?;
            Ok((rest, header))
        }
        Err(cut_off) => match input.first().map(|kind| FrameKind::from_octet(*kind)) {
            // The first octet alone can tell that this is not a frame.
            Some(Err(error)) => Err(failed(|| error)),
            _ => Err(cut_off),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_frame_is_refused_from_its_header_alone() {
        let header = [1, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let error = FrameHeader::peek(&header, 4096).unwrap_err();
        assert_eq!(error, Error::FrameTooLarge { size: 0x1_0000_0007, limit: 4096 });
    }

    #[test]
    fn an_unknown_type_is_refused_at_its_first_byte() {
        assert_eq!(FrameHeader::peek(b"H", 4096), Err(Error::UnknownFrameType(b'H')));
    }

    #[test]
    fn only_the_octets_of_the_specification_are_kinds() {
        let kinds: Vec<_> = (0..=u8::MAX).filter(|&octet| FrameKind::from_octet(octet).is_ok()).collect();
        assert_eq!(kinds, [1, 2, 3, 8]);
        assert!(kinds.iter().all(|&octet| FrameKind::from_octet(octet).unwrap().octet() == octet));
    }
}
