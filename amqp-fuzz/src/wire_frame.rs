//! A frame as its octets, any of which may be wrong.

use amqp_codec::{Frame, FrameKind, RawFrame, frame::FRAME_END};
use bytes::{BufMut, Bytes, BytesMut};

/// A frame of which every part can be wrong: the type, the size, the octet at the end.
///
/// ```
/// use amqp_codec::Frame;
/// use amqp_fuzz::WireFrame;
///
/// let mut frame = WireFrame::of(&Frame::Heartbeat(0));
/// assert_eq!(frame.frame(), Some(Frame::Heartbeat(0)));
/// frame.end = 0;
/// assert_eq!(frame.frame(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireFrame {
    /// The type's octet.
    pub kind: u8,
    /// The channel.
    pub channel: u16,
    /// The size that the frame announces, in bytes.
    pub size: u32,
    /// The payload.
    pub payload: Bytes,
    /// The octet at the end, which should be 0xCE.
    pub end: u8,
}

impl WireFrame {
    /// A frame of any type with a correct size and end.
    pub fn new(kind: u8, channel: u16, payload: Bytes) -> Self {
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        WireFrame { kind, channel, size, payload, end: FRAME_END }
    }

    /// The octets of a frame. One that is longer than 4 GiB has an empty payload.
    pub fn of(frame: &Frame) -> Self {
        let mut payload = BytesMut::new();
        let (kind, channel) = match frame {
            Frame::Method(channel, method) => {
                let _ = method.encode(&mut payload);
                (FrameKind::Method, *channel)
            }
            Frame::Header(channel, header) => {
                header.encode(&mut payload);
                (FrameKind::Header, *channel)
            }
            Frame::Body(channel, body) => return Self::new(FrameKind::Body.octet(), *channel, body.clone()),
            Frame::Heartbeat(channel) => (FrameKind::Heartbeat, *channel),
        };
        Self::new(kind.octet(), channel, payload.freeze())
    }

    /// Returns whether size and end are those of the payload, so that a peer finds the next frame.
    pub fn is_delimited(&self) -> bool {
        self.size as usize == self.payload.len() && self.end == FRAME_END
    }

    /// The frame, if it is one and nothing in it would be lost by writing it again.
    pub fn frame(&self) -> Option<Frame> {
        let kind = FrameKind::from_octet(self.kind).ok()?;
        let raw = RawFrame { kind, channel: self.channel, payload: self.payload.clone() };
        let frame = raw.decode().ok()?;
        (WireFrame::of(&frame) == *self).then_some(frame)
    }

    /// Appends the octets.
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.kind);
        out.put_u16(self.channel);
        out.put_u32(self.size);
        out.put_slice(&self.payload);
        out.put_u8(self.end);
    }

    /// Cuts the first frame off `input`: any type, but a size that is there. `None` when no whole
    /// frame is left.
    pub fn cut(input: &mut Bytes) -> Option<Self> {
        const HEADER: usize = amqp_codec::frame::HEADER_LEN;
        let &[kind, c1, c0, s3, s2, s1, s0] = input.first_chunk::<HEADER>()?;
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        let after = HEADER.checked_add(size as usize)?;
        let end = *input.get(after)?;
        let payload = input.slice(HEADER..after);
        *input = input.slice(after + 1..);
        Some(WireFrame { kind, channel: u16::from_be_bytes([c1, c0]), size, payload, end })
    }
}

/// The octets of frames, one after the other.
pub fn octets<'f>(frames: impl IntoIterator<Item = &'f WireFrame>) -> BytesMut {
    let mut out = BytesMut::new();
    frames.into_iter().for_each(|frame| frame.put(&mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_cut_off_again_whatever_is_wrong_in_it() {
        let odd = WireFrame { end: 7, ..WireFrame::new(99, 3, Bytes::from_static(b"abc")) };
        let mut input = octets([&odd, &WireFrame::of(&Frame::Heartbeat(0))]).freeze();
        assert_eq!(WireFrame::cut(&mut input), Some(odd));
        assert_eq!(WireFrame::cut(&mut input).and_then(|frame| frame.frame()), Some(Frame::Heartbeat(0)));
        assert_eq!((WireFrame::cut(&mut input), input.len()), (None, 0));
        let mut short = Bytes::from_static(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]);
        assert_eq!(WireFrame::cut(&mut short), None);
    }
}
