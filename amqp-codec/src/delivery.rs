//! The usual delivery: `basic.deliver`, its header and its whole body in one frame each, one after another in the buffer
//! they arrived in. Kept as one slice of it.

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};

use crate::{
    borrowed::{DELIVER, Deliver},
    content::CONTENT_HEADER_LEN,
    frame::{FRAME_END, FrameKind, HEADER_LEN},
    properties::EncodedProperties,
    tune::FRAME_OVERHEAD,
};

/// Where the tag's length octet is: after the frame's header and the method's number.
const CONSUMER_TAG_AT: usize = HEADER_LEN + DELIVER.len();

/// A message delivered to a consumer, undecoded: one slice of the read buffer over all of its frames, with marks where
/// things are in it.
///
/// Reading one touches one reference count and allocates nothing; a clone shares the bytes.
///
/// ```
/// use amqp_codec::{Delivery, EncodedProperties, ShortString, frame::encode_content, method::basic::Deliver};
/// use bytes::BytesMut;
///
/// let deliver = Deliver { delivery_tag: 7, routing_key: ShortString::from_static("job.run"), ..Default::default() };
/// let mut wire = BytesMut::new();
/// encode_content(1, &deliver, &EncodedProperties::NONE, b"hello", 4096, u64::MAX, &mut wire)?;
///
/// let delivery = Delivery::split_from(&mut wire, 4096).expect("its frames are whole and in a row");
/// assert_eq!((delivery.channel(), delivery.tag()), (1, 7));
/// assert_eq!((delivery.routing_key(), delivery.body()), (&b"job.run"[..], &b"hello"[..]));
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    frames: Bytes,
    /// Where in the frames the payloads of method and header end.
    method_end: u16,
    header_end: u32,
}

impl Delivery {
    /// Cuts a delivery off the front of `buffer`, without copying.
    ///
    /// `None`, and nothing is cut off, when something else is there: another frame, less than all of the delivery, a body
    /// in several frames, or what is malformed. [`RawFrame::split_from`](crate::RawFrame::split_from) and an
    /// [`Assembler`](crate::Assembler) read it then, or find what is wrong with it.
    #[inline]
    pub fn split_from(buffer: &mut BytesMut, frame_max: usize) -> Option<Self> {
        let located = locate(buffer, frame_max)?;
        let frames = buffer.split_to(located.length).freeze();
        Some(Delivery { frames, method_end: located.method_end, header_end: located.header_end })
    }

    /// The channel.
    pub fn channel(&self) -> u16 {
        self.octets_at(1).map_or(0, u16::from_be_bytes)
    }

    /// Its number on the channel, to acknowledge it by.
    pub fn tag(&self) -> u64 {
        self.octets_at(self.tag_at()).map_or(0, u64::from_be_bytes)
    }

    /// Whether it was delivered before.
    pub fn redelivered(&self) -> bool {
        self.octets_at(self.tag_at() + 8).is_some_and(|[bits]| bits & 1 != 0)
    }

    /// Whom it is for.
    pub fn consumer_tag(&self) -> &[u8] {
        self.short_at(CONSUMER_TAG_AT)
    }

    /// The exchange it was published to.
    pub fn exchange(&self) -> &[u8] {
        self.short_at(self.exchange_at())
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &[u8] {
        self.short_at(self.exchange_at() + 1 + self.exchange().len())
    }

    /// The properties, undecoded; they share the bytes.
    pub fn properties(&self) -> EncodedProperties {
        let start = usize::from(self.method_end) + 1 + HEADER_LEN + CONTENT_HEADER_LEN;
        EncodedProperties::from_encoded(self.frames.slice(start..self.header_end as usize))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.frames.get(self.body_range()).unwrap_or_default()
    }

    /// The body alone, which shares the bytes.
    pub fn into_body(self) -> Bytes {
        self.frames.slice(self.body_range())
    }

    /// The frames as they arrived.
    pub fn as_encoded(&self) -> &Bytes {
        &self.frames
    }

    /// Copies it out of the read buffer, so that it does not hold all of that.
    pub fn detach(&self) -> Self {
        Delivery { frames: Bytes::copy_from_slice(&self.frames), ..*self }
    }

    fn tag_at(&self) -> usize {
        CONSUMER_TAG_AT + 1 + self.consumer_tag().len()
    }

    fn exchange_at(&self) -> usize {
        // delivery tag 8, bits 1
        self.tag_at() + 9
    }

    fn body_range(&self) -> Range<usize> {
        let after_header = self.header_end as usize + 1;
        match self.frames.len() {
            end if end == after_header => end..end,
            end => after_header + HEADER_LEN..end - 1,
        }
    }

    fn short_at(&self, at: usize) -> &[u8] {
        let length = self.frames.get(at).map_or(0, |&length| usize::from(length));
        self.frames.get(at + 1..at + 1 + length).unwrap_or_default()
    }

    fn octets_at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.frames.get(at..)?.first_chunk().copied()
    }
}

/// Where a delivery ends, and where in it the payloads of method and header do.
struct Located {
    length: usize,
    method_end: u16,
    header_end: u32,
}

#[inline]
fn locate(bytes: &[u8], frame_max: usize) -> Option<Located> {
    let (channel, method) = frame_at(bytes, 0, FrameKind::Method, frame_max)?;
    let method_end = u16::try_from(method.end).ok()?;
    let after_method = method.end + 1;
    Deliver::decode(bytes.get(method)?).ok()??;
    let (header_channel, header) = frame_at(bytes, after_method, FrameKind::Header, frame_max)?;
    let header_end = u32::try_from(header.end).ok()?;
    let after_header = header.end + 1;
    // class 2, weight 2, then the size
    let body_size = u64::from_be_bytes(*bytes.get(header.start + 4..header.end)?.first_chunk()?);
    if header_channel != channel {
        return None;
    }
    if body_size == 0 {
        return Some(Located { length: after_header, method_end, header_end });
    }
    let (body_channel, body) = frame_at(bytes, after_header, FrameKind::Body, frame_max)?;
    let whole = body_channel == channel && body.len() as u64 == body_size;
    whole.then_some(Located { length: body.end + 1, method_end, header_end })
}

/// Channel and payload of the frame at `at`, when it is of this kind, whole and within `frame_max`.
#[inline]
fn frame_at(bytes: &[u8], at: usize, kind: FrameKind, frame_max: usize) -> Option<(u16, Range<usize>)> {
    let &[octet, c1, c0, s3, s2, s1, s0] = bytes.get(at..)?.first_chunk::<HEADER_LEN>()?;
    let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
    let payload = at + HEADER_LEN..at + HEADER_LEN + size;
    let fits = octet == kind.octet() && size + FRAME_OVERHEAD <= frame_max;
    (fits && bytes.get(payload.end) == Some(&FRAME_END)).then_some((u16::from_be_bytes([c1, c0]), payload))
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("channel", &self.channel())
            .field("tag", &self.tag())
            .field("redelivered", &self.redelivered())
            .field("consumer_tag", &self.consumer_tag().escape_ascii().to_string())
            .field("exchange", &self.exchange().escape_ascii().to_string())
            .field("routing_key", &self.routing_key().escape_ascii().to_string())
            .field("properties", &self.properties())
            .field("body_size", &self.body().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::encode_content,
        method::basic,
        properties::{PERSISTENT, Properties},
        text::ShortString,
    };

    fn deliver() -> basic::Deliver {
        basic::Deliver {
            consumer_tag: ShortString::from_static("ctag"),
            delivery_tag: 1 << 40,
            redelivered: true,
            exchange: ShortString::from_static("events"),
            routing_key: ShortString::from_static("job.run"),
        }
    }

    fn wire(body: &[u8]) -> BytesMut {
        let properties = Properties { delivery_mode: Some(PERSISTENT), ..Default::default() };
        let mut out = BytesMut::new();
        let encoded = properties.encode().unwrap();
        encode_content(7, &deliver(), &encoded, body, 4096, u64::MAX, &mut out).unwrap();
        out
    }

    #[test]
    fn all_of_a_delivery_is_found_in_its_frames() {
        for body in [&b""[..], b"x", &[9; 4088]] {
            let mut buffer = wire(body);
            let frames = buffer.clone();
            buffer.extend_from_slice(b"more");
            let delivery = Delivery::split_from(&mut buffer, 4096).unwrap();
            assert_eq!(&buffer[..], b"more");
            assert_eq!(delivery.as_encoded(), &frames);
            assert_eq!((delivery.channel(), delivery.tag(), delivery.redelivered()), (7, 1 << 40, true));
            assert_eq!((delivery.consumer_tag(), delivery.exchange()), (&b"ctag"[..], &b"events"[..]));
            assert_eq!((delivery.routing_key(), delivery.body()), (&b"job.run"[..], body));
            assert_eq!(delivery.properties().decode().unwrap().delivery_mode, Some(PERSISTENT));
            assert_eq!(delivery.detach(), delivery);
            assert_eq!(delivery.into_body(), body);
        }
    }

    #[test]
    fn what_is_not_whole_or_not_in_order_is_left_where_it_is() {
        let whole = wire(b"hello");
        for end in 0..whole.len() {
            let mut cut = BytesMut::from(&whole[..end]);
            assert_eq!(Delivery::split_from(&mut cut, 4096), None, "cut at {end}");
            assert_eq!(cut, whole[..end]);
        }
        let mut in_two_frames = wire(&[0; 4089]);
        assert_eq!(Delivery::split_from(&mut in_two_frames, 4096), None);
        let mut over_frame_max = wire(&[0; 4088]);
        assert_eq!(Delivery::split_from(&mut over_frame_max, 4095), None);
        // The header's channel, and the body's.
        let header_at = whole.len() - b"hello".len() - 8 - 23;
        for at in [header_at + 2, whole.len() - b"hello".len() - 8 + 2] {
            let mut on_another_channel = whole.clone();
            assert_eq!(on_another_channel[at], 7, "an octet of a channel");
            on_another_channel[at] = 8;
            assert_eq!(Delivery::split_from(&mut on_another_channel, 4096), None);
        }
    }

    #[test]
    fn nothing_is_copied() {
        let mut buffer = wire(b"hello");
        let at = buffer.as_ptr();
        let delivery = Delivery::split_from(&mut buffer, 4096).unwrap();
        assert_eq!(delivery.as_encoded().as_ptr(), at);
    }
}
