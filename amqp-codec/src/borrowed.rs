//! The two methods of the hot path, without touching a reference count or allocating: `basic.publish`, of which a client
//! writes and a broker reads millions, and `basic.deliver`, of which a client reads millions.

use bytes::{BufMut, BytesMut};

use crate::{
    content::CONTENT_HEADER_LEN,
    error::Error,
    frame::{FRAME_END, FrameKind, HEADER_LEN, put_body},
    properties::PropertyList,
    text::check_short,
    tune::FRAME_OVERHEAD,
};

/// The first four octets of a `basic.publish` payload: class 60, method 40.
pub const PUBLISH: [u8; 4] = [0, 60, 0, 40];

/// The first four octets of a `basic.deliver` payload: class 60, method 60.
pub const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// `basic.publish`, its strings borrowed: from the payload when it is read, from anywhere when it is written.
///
/// ```
/// use amqp_codec::{Properties, borrowed::Publish};
/// use bytes::BytesMut;
///
/// let publish = Publish { exchange: b"events", routing_key: b"job.run", mandatory: true, immediate: false };
/// let mut wire = BytesMut::new();
/// publish.encode(1, &Properties::default(), b"hello", 131_072, &mut wire)?;
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The exchange's name; empty for the default exchange.
    pub exchange: &'a [u8],
    /// The routing key.
    pub routing_key: &'a [u8],
    /// Return the message when no queue takes it.
    pub mandatory: bool,
    /// Return the message when no consumer takes it at once.
    pub immediate: bool,
}

/// `basic.deliver`, its strings borrowed from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// Whom it is for.
    pub consumer_tag: &'a [u8],
    /// Its number on the channel.
    pub delivery_tag: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: &'a [u8],
    /// The routing key it was published with.
    pub routing_key: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Reads a method frame's payload; `None` when it is another method.
    ///
    /// # Errors
    /// A field that reaches past the end, bytes left over.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, Error> {
        let Some(arguments) = payload.strip_prefix(&PUBLISH) else { return Ok(None) };
        let rest = skip(arguments, 2, "basic.publish ticket")?;
        let (exchange, rest) = short(rest, "basic.publish exchange")?;
        let (routing_key, rest) = short(rest, "basic.publish routing_key")?;
        let (&bits, rest) =
            rest.split_first().ok_or_else(|| truncated("basic.publish mandatory", 1, rest))?;
        finish(rest, "basic.publish")?;
        Ok(Some(Publish { exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 }))
    }

    /// Appends the whole publish: method, content header, and the body in as many frames as it needs.
    ///
    /// # Errors
    /// [`Error::ShortStringTooLong`] for a name over 255 bytes, [`Error::TooLong`] when method or properties do not
    /// fit into one frame; nothing is appended then.
    #[inline]
    pub fn encode(
        &self,
        channel: u16,
        properties: &impl PropertyList,
        body: &[u8],
        frame_max: usize,
        out: &mut BytesMut,
    ) -> Result<(), Error> {
        self.encode_head(channel, properties, body.len() as u64, frame_max, out)?;
        put_body(channel, body, frame_max, out);
        Ok(())
    }

    /// Appends method and content header; frames with `body_size` bytes of body are to follow, by copy or by a vectored
    /// write.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline]
    pub fn encode_head(
        &self,
        channel: u16,
        properties: &impl PropertyList,
        body_size: u64,
        frame_max: usize,
        out: &mut BytesMut,
    ) -> Result<(), Error> {
        check_short("exchange", self.exchange.len())?;
        check_short("routing_key", self.routing_key.len())?;
        let start = out.len();
        self.put_method_and_header_start(channel, body_size, out);
        let header_at = out.len() - CONTENT_HEADER_LEN - HEADER_LEN;
        let written = properties.append_to(out).and_then(|()| {
            out.put_u8(FRAME_END);
            check_frame(FrameKind::Method, header_at - start, frame_max)?;
            check_frame(FrameKind::Header, out.len() - header_at, frame_max)
        });
        if written.is_err() {
            out.truncate(start);
            return written;
        }
        let size = (out.len() - header_at - FRAME_OVERHEAD) as u32;
        if let Some(field) = out.get_mut(header_at + 3..header_at + HEADER_LEN) {
            field.copy_from_slice(&size.to_be_bytes());
        }
        Ok(())
    }

    /// The method's frame, and the header's up to its properties, its size left open; the names have been checked.
    ///
    /// By hand and in few pieces: this is what a client does millions of times a second.
    #[inline]
    fn put_method_and_header_start(&self, channel: u16, body_size: u64, out: &mut BytesMut) {
        let (exchange, key) = (self.exchange, self.routing_key);
        let [c1, c0] = channel.to_be_bytes();
        // class 2, method 2, ticket 2, two length octets, bits 1
        let [s3, s2, s1, s0] = ((9 + exchange.len() + key.len()) as u32).to_be_bytes();
        out.put_slice(&[1, c1, c0, s3, s2, s1, s0, 0, 60, 0, 40, 0, 0, exchange.len() as u8]);
        out.put_slice(exchange);
        out.put_u8(key.len() as u8);
        out.put_slice(key);
        let bits = u8::from(self.mandatory) | u8::from(self.immediate) << 1;
        // class 60, weight 0, body size
        let [b7, b6, b5, b4, b3, b2, b1, b0] = body_size.to_be_bytes();
        out.put_slice(&[bits, FRAME_END, 2, c1, c0, 0, 0, 0, 0, 0, 60, 0, 0, b7, b6, b5, b4, b3, b2, b1, b0]);
    }
}

impl<'a> Deliver<'a> {
    /// Reads a method frame's payload; `None` when it is another method.
    ///
    /// # Errors
    /// A field that reaches past the end, bytes left over.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, Error> {
        let Some(arguments) = payload.strip_prefix(&DELIVER) else { return Ok(None) };
        let (consumer_tag, rest) = short(arguments, "basic.deliver consumer_tag")?;
        let Some((tag, rest)) = rest.split_first_chunk::<8>() else {
            return Err(truncated("basic.deliver delivery_tag", 8, rest));
        };
        let Some((&bits, rest)) = rest.split_first() else {
            return Err(truncated("basic.deliver redelivered", 1, rest));
        };
        let (exchange, rest) = short(rest, "basic.deliver exchange")?;
        let (routing_key, rest) = short(rest, "basic.deliver routing_key")?;
        finish(rest, "basic.deliver")?;
        let delivery_tag = u64::from_be_bytes(*tag);
        Ok(Some(Deliver { consumer_tag, delivery_tag, redelivered: bits & 1 != 0, exchange, routing_key }))
    }
}

#[inline]
fn check_frame(kind: FrameKind, length: usize, frame_max: usize) -> Result<(), Error> {
    if length > frame_max {
        let (length, limit) = (length as u64, frame_max as u64);
        return Err(Error::TooLong { what: kind.name(), length, limit });
    }
    Ok(())
}

#[inline]
fn short<'a>(bytes: &'a [u8], what: &'static str) -> Result<(&'a [u8], &'a [u8]), Error> {
    let Some((&length, rest)) = bytes.split_first() else { return Err(truncated(what, 1, bytes)) };
    let length = usize::from(length);
    rest.split_at_checked(length).ok_or_else(|| truncated(what, length, rest))
}

#[inline]
fn skip<'a>(bytes: &'a [u8], count: usize, what: &'static str) -> Result<&'a [u8], Error> {
    bytes.get(count..).ok_or_else(|| truncated(what, count, bytes))
}

#[inline]
fn finish(rest: &[u8], what: &'static str) -> Result<(), Error> {
    if rest.is_empty() { Ok(()) } else { Err(Error::TrailingBytes { what, count: rest.len() }) }
}

#[cold]
fn truncated(what: &'static str, needed: usize, rest: &[u8]) -> Error {
    Error::Truncated { what, needed, left: rest.len() }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::{
        frame::encode_content,
        method::{Method, basic},
        properties::{EncodedProperties, Properties},
        text::ShortString,
    };

    fn encoded(method: impl Into<Method>) -> BytesMut {
        let mut out = BytesMut::new();
        method.into().encode(&mut out).unwrap();
        out
    }

    #[test]
    fn a_publish_reads_the_same_as_through_the_table() {
        let publish = basic::Publish {
            exchange: ShortString::from_static("events"),
            routing_key: ShortString::from_static("job.run"),
            mandatory: true,
            ..Default::default()
        };
        let payload = encoded(publish);
        let read = Publish::decode(&payload).unwrap().unwrap();
        assert_eq!((read.exchange, read.routing_key), (&b"events"[..], &b"job.run"[..]));
        assert_eq!((read.mandatory, read.immediate), (true, false));
    }

    #[test]
    fn a_publish_is_written_as_through_the_table_or_not_at_all() {
        let publish = basic::Publish {
            exchange: ShortString::from_static("events"),
            routing_key: ShortString::from_static("job.run"),
            immediate: true,
            ..Default::default()
        };
        let borrowed =
            Publish { exchange: b"events", routing_key: b"job.run", mandatory: false, immediate: true };
        let properties = Properties { priority: Some(3), ..Default::default() };
        let encoded = properties.encode().unwrap();
        for size in [0, 1, 4088, 4089, 10_000] {
            let body = vec![7; size];
            let mut expected = BytesMut::from(&b"before"[..]);
            encode_content(9, &publish, &encoded, &body, 4096, u64::MAX, &mut expected).unwrap();
            let (mut out, mut again) = (BytesMut::from(&b"before"[..]), BytesMut::from(&b"before"[..]));
            borrowed.encode(9, &properties, &body, 4096, &mut out).unwrap();
            borrowed.encode(9, &encoded, &body, 4096, &mut again).unwrap();
            assert_eq!((&out, &again), (&expected, &expected), "{size} bytes of body");
        }
        let mut out = BytesMut::from(&b"before"[..]);
        let long = Publish { exchange: &[b'x'; 256], ..borrowed };
        let error = long.encode(9, &properties, b"", 4096, &mut out).unwrap_err();
        assert_eq!(error, Error::ShortStringTooLong { what: "exchange", length: 256 });
        let large = EncodedProperties::from_encoded(vec![0; 4077].into());
        let error = borrowed.encode(9, &large, b"", 4096, &mut out).unwrap_err();
        let what = "a content header frame";
        assert_eq!(error, Error::TooLong { what, length: 4097, limit: 4096 });
        assert_eq!(&out[..], b"before");
    }

    #[test]
    fn a_deliver_reads_the_same_as_through_the_table_and_no_truncation_passes() {
        let deliver = basic::Deliver {
            consumer_tag: ShortString::from_static("ctag"),
            delivery_tag: 7,
            redelivered: true,
            exchange: ShortString::from_static("e"),
            routing_key: ShortString::from_static("k"),
        };
        let payload = encoded(deliver);
        let read = Deliver::decode(&payload).unwrap().unwrap();
        assert_eq!((read.consumer_tag, read.delivery_tag, read.redelivered), (&b"ctag"[..], 7, true));
        for end in DELIVER.len()..payload.len() {
            assert!(Deliver::decode(&payload[..end]).is_err(), "cut at {end}");
        }
        let mut longer = payload.to_vec();
        longer.push(0);
        assert_eq!(Deliver::decode(&longer), Err(Error::TrailingBytes { what: "basic.deliver", count: 1 }));
    }

    #[test]
    fn an_error_reads_the_same_as_through_the_table() {
        let payload = encoded(basic::Publish::default()).freeze();
        for end in PUBLISH.len()..payload.len() {
            let cut = payload.slice(..end);
            assert_eq!(Publish::decode(&cut).map(|_| ()), Method::decode(&cut).map(|_| ()), "cut at {end}");
        }
    }

    #[test]
    fn another_method_is_none_of_these() {
        let payload = encoded(basic::QosOk {});
        assert_eq!(Publish::decode(&payload), Ok(None));
        assert_eq!(Deliver::decode(&payload), Ok(None));
    }
}
