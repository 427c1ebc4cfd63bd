//! The walk over a buffer of frames.

use std::ops::Range;

use nom::Streaming;

use crate::{
    content::CONTENT_HEADER_LEN,
    error::Error,
    frame::{
        frame_header::{FrameHeader, FrameKind, FrameLimits, frame_header},
        frame_ref::{FrameRef, frame},
    },
    method::basic,
    wire::octets::{self, Silent, octets},
};

/// Walks over consecutive frames in a buffer, without copying or allocating. Clients, brokers and
/// proxies use it for the bytes of one read.
///
/// ```
/// use amqp_codec::{FrameKind, Frames, frame::HEARTBEAT};
///
/// let read = [&HEARTBEAT[..], b"\x03\0\x07\0\0\0\x02hi\xce", b"\x03\0\x07\0\0"].concat();
/// let mut frames = Frames::new(&read, 131_072);
/// let mut kinds = Vec::new();
/// while let Some(frame) = frames.next_frame()? {
///     kinds.push((frame.kind, frame.channel));
/// }
/// assert_eq!(kinds, [(FrameKind::Heartbeat, 0), (FrameKind::Body, 7)]);
/// assert_eq!(frames.position(), 18);
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    /// The only field that a step changes: a walk goes back by restoring it.
    position: usize,
    limits: FrameLimits,
}

impl<'a> Frames<'a> {
    /// Starts at the beginning of `bytes`. `frame_max` is the largest frame that is read, in bytes.
    #[inline]
    pub const fn new(bytes: &'a [u8], frame_max: usize) -> Self {
        Frames { bytes, position: 0, limits: FrameLimits::new(frame_max) }
    }

    /// Sets the largest content header frame that is read, in bytes; by default it is `frame_max`.
    /// The two differ because RabbitMQ checks frame_max on the headers that it receives, not on
    /// those that it sends.
    #[inline]
    #[must_use]
    pub const fn header_frame_max(mut self, bytes: usize) -> Self {
        self.limits.header_frame_max = bytes;
        self
    }

    /// How many bytes have been walked over: the next frame begins there.
    #[inline]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The bytes not yet walked over.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        match self.bytes.split_at_checked(self.position) {
            Some((_, rest)) => rest,
            None => &[],
        }
    }

    /// Steps over the next frame. Returns `None`, without a step, when the frame is incomplete.
    ///
    /// # Errors
    /// An unknown type or a frame over the limit, as soon as enough bytes are there to tell; a
    /// wrong end marker. No step is made then.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<FrameRef<'a>>, Error> {
        match self.step() {
            Some(frame) => Ok(Some(frame)),
            None => check(self.rest(), self.limits).map(|()| None),
        }
    }

    /// Reads the next frame in the usual case, in which there is no error to report.
    // This is always inlined, as `next_of` is. Where the type is known, most checks then disappear,
    // which saves a tenth of the time to read a delivery.
    #[inline(always)]
    fn step(&mut self) -> Option<FrameRef<'a>> {
        let (rest, found) = frame::<Silent>(self.limits)(self.rest()).ok()?;
        let payload_at = self.position + found.payload_at;
        self.step_to(rest);
        Some(FrameRef { payload_at, ..found })
    }

    /// As [`next_frame`](Self::next_frame), but only the frame's header is checked, not its end
    /// marker.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn skip_frame(&mut self) -> Result<Option<FrameHeader>, Error> {
        let Some((_, header)) = octets::streaming(frame_header::<Streaming>(self.limits)(self.rest()))?
        else {
            return Ok(None);
        };
        let Some(rest) = self.rest().get(header.frame_len()..) else { return Ok(None) };
        self.step_to(rest);
        Ok(Some(header))
    }

    /// Steps over the content of a method in the usual case: its header and at most one body frame
    /// come next, on this channel, whole and in order.
    ///
    /// Returns `None`, without a step, in every other case. The caller then reads frame by frame
    /// with an [`Assembler`](crate::Assembler), or refuses the content.
    #[inline]
    pub fn next_content(&mut self, channel: u16) -> Option<ContentRef<'a>> {
        let before = self.position;
        let content = self.step_over_content(channel);
        if content.is_none() {
            self.position = before;
        }
        content
    }

    /// As [`next_content`](Self::next_content), but where it finds nothing, it may have made a
    /// step.
    #[inline]
    fn step_over_content(&mut self, channel: u16) -> Option<ContentRef<'a>> {
        let header = self.next_of(FrameKind::Header, channel)?;
        let (properties, fixed) =
            octets::<Silent>(CONTENT_HEADER_LEN, "content header")(header.payload).ok()?;
        let body_size = u64::from_be_bytes(*fixed.last_chunk()?);
        if !fixed.starts_with(&basic::CLASS_ID.to_be_bytes()) {
            return None;
        }
        let (body, body_at) = match body_size {
            0 => (&[][..], self.position),
            _ => {
                let body = self.next_of(FrameKind::Body, channel)?;
                (body.payload, body.payload_at)
            }
        };
        if body.len() as u64 != body_size {
            return None;
        }
        let properties_at = header.payload_at + CONTENT_HEADER_LEN;
        Some(ContentRef { properties, body, properties_at, body_at })
    }

    #[inline(always)]
    fn next_of(&mut self, kind: FrameKind, channel: u16) -> Option<FrameRef<'a>> {
        // The type comes first: once it is known, less of the frame has to be checked.
        if self.rest().first() != Some(&kind.octet()) {
            return None;
        }
        let frame = self.step()?;
        (frame.kind == kind && frame.channel == channel).then_some(frame)
    }

    #[inline]
    fn step_to(&mut self, rest: &'a [u8]) {
        self.position = self.bytes.len() - rest.len();
    }
}

/// Finds out what is wrong with the frame at the start of `rest`; `Ok` when it is only incomplete.
// It takes values: a reference to the walk would keep all of it in memory, where each step writes.
#[cold]
fn check(rest: &[u8], limits: FrameLimits) -> Result<(), Error> {
    octets::streaming(frame::<Streaming>(limits)(rest)).map(|_| ())
}

/// Content whose body arrived in one frame, or is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRef<'a> {
    /// Flags and property list, unchecked.
    pub properties: &'a [u8],
    /// The whole body.
    pub body: &'a [u8],
    properties_at: usize,
    body_at: usize,
}

impl ContentRef<'_> {
    /// The range of the properties in the buffer.
    #[inline]
    pub const fn properties_range(&self) -> Range<usize> {
        self.properties_at..self.properties_at + self.properties.len()
    }

    /// The range of the body in the buffer.
    #[inline]
    pub const fn body_range(&self) -> Range<usize> {
        self.body_at..self.body_at + self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::{
        borrowed::Deliver,
        frame::{Frame, encode_content, frame_header::FRAME_END},
        properties::{EncodedProperties, PERSISTENT, Properties},
    };

    fn properties() -> EncodedProperties {
        Properties { delivery_mode: Some(PERSISTENT), ..Default::default() }.encode().unwrap()
    }

    fn wire(body: &[u8]) -> BytesMut {
        let deliver = basic::Deliver { delivery_tag: 1 << 40, redelivered: true, ..Default::default() };
        let mut out = BytesMut::new();
        encode_content(7, &deliver, &properties(), body, 4096, u64::MAX, &mut out).unwrap();
        out
    }

    #[test]
    fn a_walk_ends_where_a_frame_is_not_whole_and_stays_at_what_is_none() {
        let body = Frame::Body(3, Bytes::from_static(b"body"));
        let mut wire = BytesMut::new();
        for _ in 0..3 {
            body.encode(4096, &mut wire).unwrap();
        }
        for end in 0..wire.len() {
            let mut frames = Frames::new(&wire[..end], 4096);
            let mut skipping = frames.clone();
            for index in 0..end / 12 {
                let frame = frames.next_frame().unwrap().unwrap();
                assert_eq!((frame.kind, frame.channel, frame.payload), (FrameKind::Body, 3, &b"body"[..]));
                assert_eq!(frame.payload_range(), index * 12 + 7..index * 12 + 11);
                assert_eq!(skipping.skip_frame(), Ok(Some(frame.header())));
            }
            assert_eq!((frames.next_frame(), skipping.skip_frame()), (Ok(None), Ok(None)), "cut at {end}");
            assert_eq!((frames.position(), frames.rest()), (end / 12 * 12, &wire[end / 12 * 12..end]));
            assert_eq!(skipping.position(), frames.position());
        }
        wire[23] = 0;
        let mut frames = Frames::new(&wire, 4096);
        assert!(frames.next_frame().unwrap().is_some());
        assert_eq!(frames.next_frame(), Err(Error::BadFrameEnd(0)));
        assert_eq!(frames.position(), 12);
        assert!(frames.skip_frame().unwrap().is_some(), "the marker is not looked at");
        wire[12] = 9;
        let mut frames = Frames::new(&wire[..13], 4096);
        assert!(frames.skip_frame().unwrap().is_some());
        assert_eq!(frames.skip_frame(), Err(Error::UnknownFrameType(9)));
        assert_eq!(
            Frames::new(b"\x03\0\x03\0\0\0\x04", 11).skip_frame(),
            Err(Error::FrameTooLarge { size: 12, limit: 11 })
        );
    }

    #[test]
    fn headers_may_have_a_limit_of_their_own() {
        let frame = |kind| [&[kind, 0, 1, 0, 0, 0, 4][..], &[0, 0, 0, 0, FRAME_END]].concat();
        let (header, body) = (frame(2), frame(3));
        let lenient = |frame| Frames::new(frame, 11).header_frame_max(12);
        assert!(lenient(&header).next_frame().unwrap().is_some());
        let too_large = |limit| Err(Error::FrameTooLarge { size: 12, limit });
        assert_eq!(lenient(&body).next_frame(), too_large(11));
        assert_eq!(lenient(&header).header_frame_max(11).next_frame(), too_large(11));
        assert_eq!(Frames::new(&header, 11).next_frame(), too_large(11));
    }

    #[test]
    fn all_of_a_usual_delivery_is_found_in_its_frames() {
        for body in [&b""[..], b"x", &[9; 4088]] {
            let mut buffer = wire(body);
            let length = buffer.len();
            buffer.extend_from_slice(b"more");
            let mut frames = Frames::new(&buffer, 4096);
            let method = frames.next_frame().unwrap().unwrap();
            assert_eq!((method.kind, method.channel), (FrameKind::Method, 7));
            let deliver = Deliver::decode(method.payload).unwrap().unwrap();
            assert_eq!((deliver.delivery_tag, deliver.redelivered), (1 << 40, true));
            let content = frames.next_content(7).unwrap();
            assert_eq!((content.properties, content.body), (&properties().as_encoded()[..], body));
            assert_eq!(&buffer[content.properties_range()], content.properties);
            assert_eq!(&buffer[content.body_range()], body);
            assert_eq!((frames.position(), frames.rest()), (length, &b"more"[..]));
        }
    }

    #[test]
    fn content_that_is_not_whole_or_not_in_order_is_not_stepped_over() {
        let content_of = |wire: &[u8], frame_max| {
            let mut frames = Frames::new(wire, frame_max);
            frames.next_frame().unwrap().unwrap();
            let before = frames.position();
            let is_there = frames.next_content(7).is_some();
            assert_eq!(frames.position(), if is_there { wire.len() } else { before });
            is_there
        };
        let whole = wire(b"hello");
        assert!(content_of(&whole, 4096));
        let method = Frames::new(&whole, 4096).skip_frame().unwrap().unwrap().frame_len();
        for end in method..whole.len() {
            assert!(!content_of(&whole[..end], 4096), "cut at {end}");
        }
        assert!(!content_of(&wire(&[0; 4089]), 4096), "in two frames");
        assert!(content_of(&wire(&[0; 4088]), 4096) && !content_of(&wire(&[0; 4088]), 4095));
        let body = whole.len() - b"hello".len() - 8;
        // These are the kind, channel and class of the header, the kind, channel and size of the
        // body, and both end markers.
        for at in [method, method + 2, method + 8, body - 1, body, body + 2, body + 6, whole.len() - 1] {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(!content_of(&other, 4096), "octet {at}");
        }
        // The body is longer than announced, then shorter.
        for size in [4, 6] {
            let mut other = whole.clone();
            other[method + 7 + 11] = size;
            assert!(!content_of(&other, 4096), "{size} octets announced");
        }
    }
}
