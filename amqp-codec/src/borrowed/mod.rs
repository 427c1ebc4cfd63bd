//! The methods of the hot path, read and written without touching a reference count and without
//! allocating: `basic.publish`, `basic.deliver` and the settlements (`ack`, `nack`, `reject`), of
//! which clients and brokers handle millions; and the properties that are needed to read a body.

mod settlement;

use bytes::{BufMut, BytesMut};
use nom::{Complete, Parser as _};

use crate::{
    content::CONTENT_HEADER_LEN,
    error::Error,
    frame::{FRAME_END, FrameKind, HEADER_LEN, put_body},
    method::{Arguments as _, basic},
    properties::{Properties, PropertyList},
    table::entries::{Entries, ValueRef},
    tune::FRAME_OVERHEAD,
    wire::{
        field::FieldKind,
        nesting::check_table,
        octets::{self, Mode, Parsed, Silent, end, field, long_long, octet, octets, short, short_string},
        text::check_short,
    },
};

pub use settlement::{Ack, Nack, Reject};

/// `basic.publish` with borrowed strings: from the payload when it is read, from anywhere when it
/// is written.
///
/// ```
/// use amqp_codec::{Properties, borrowed::Publish};
/// use bytes::BytesMut;
///
/// let publish =
///     Publish { exchange: b"events", routing_key: b"job.run", mandatory: true, immediate: false };
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
    /// The consumer that the message is for.
    pub consumer_tag: &'a [u8],
    /// The delivery's number on its channel.
    pub delivery_tag: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: &'a [u8],
    /// The routing key it was published with.
    pub routing_key: &'a [u8],
}

/// The properties that say how to read a body and which message it is. They borrow from the encoded
/// properties.
///
/// ```
/// use amqp_codec::{Properties, ShortString, borrowed::ContentProperties};
///
/// let json = ShortString::from_static("application/json");
/// let encoded = Properties { content_type: Some(json), ..Properties::default() }.encode()?;
/// let read = ContentProperties::decode(encoded.as_encoded())?;
/// assert_eq!(read.content_type, Some(&b"application/json"[..]));
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentProperties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// The publisher's name for the message.
    pub message_id: Option<&'a [u8]>,
    /// The application's headers.
    pub headers: Option<Entries<'a>>,
}

impl<'a> ContentProperties<'a> {
    /// Reads flags and property list; the other properties are checked as well, and stepped over.
    ///
    /// # Errors
    /// As [`EncodedProperties::decode`](crate::EncodedProperties::decode).
    pub fn decode(encoded: &'a [u8]) -> Result<Self, Error> {
        let mut rest = encoded;
        let flags = octets::next(&mut rest, short::<Complete>("property flags"))?;
        let mut read = ContentProperties::default();
        let mut bit = 1 << 15;
        let mut unknown = flags;
        for field in Properties::FIELDS {
            let is_there = flags & bit != 0;
            unknown &= !bit;
            bit >>= 1;
            if !is_there {
                continue;
            }
            let value = octets::next(&mut rest, self::field::<Complete>(field.kind, field.name))?;
            match (field.kind, field.name) {
                (FieldKind::Table, _) => {
                    check_table(value, 1)?;
                    read.headers = Some(Entries::new(value));
                }
                (_, "content_type") => read.content_type = Some(value),
                (_, "content_encoding") => read.content_encoding = Some(value),
                (_, "message_id") => read.message_id = Some(value),
                _ => {}
            }
        }
        if unknown != 0 {
            return Err(Error::UnknownPropertyFlags(flags));
        }
        end(rest, "properties")?;
        Ok(read)
    }

    /// The header of this name, when it is text.
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        let mut entries = self.headers?;
        match entries.find(|(found, _)| *found == name.as_bytes())?.1 {
            ValueRef::LongString(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }
}

impl<'a> Publish<'a> {
    /// Reads a method frame's payload; `None` when it is another method.
    ///
    /// # Errors
    /// A field that reaches past the end, bytes left over.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, Error> {
        let Some(arguments) = payload.strip_prefix(&basic::Publish::ID.octets()) else { return Ok(None) };
        match Self::parse::<Silent>(arguments) {
            Ok(([], publish)) => Ok(Some(publish)),
            _ => Err(Self::refuse(arguments)),
        }
    }

    #[inline]
    fn parse<M: Mode>(arguments: &'a [u8]) -> Parsed<'a, Self, M::Error> {
        let mut fields = (
            octets::<M>(2, "basic.publish ticket"),
            short_string::<M>("basic.publish exchange"),
            short_string::<M>("basic.publish routing_key"),
            octet::<M>("basic.publish mandatory"),
        );
        let (rest, (_ticket, exchange, routing_key, bits)) = fields.parse(arguments)?;
        Ok((rest, Publish { exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 }))
    }

    #[cold]
    fn refuse(arguments: &'a [u8]) -> Error {
        match octets::complete(Self::parse::<Complete>(arguments)) {
            Ok((rest, _)) => Error::TrailingBytes { what: "basic.publish", count: rest.len() },
            Err(error) => error,
        }
    }

    /// Appends the whole publish: method, content header, and the body in as many frames as it
    /// needs.
    ///
    /// # Errors
    /// [`Error::ShortStringTooLong`] for a name over 255 bytes, [`Error::TooLong`] when method or
    /// properties do not fit into one frame; nothing is appended then.
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

    /// Appends the method and the content header. The caller then writes frames with `body_size`
    /// bytes of body, by copy or by a vectored write.
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

    /// Writes the method's frame and the header's frame up to its properties. The header frame's
    /// size is left open. The caller has checked the names' lengths.
    ///
    /// The octets are laid out by hand and appended in few pieces, because a client does this
    /// millions of times a second.
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
        let Some(arguments) = payload.strip_prefix(&basic::Deliver::ID.octets()) else { return Ok(None) };
        match Self::parse::<Silent>(arguments) {
            Ok(([], deliver)) => Ok(Some(deliver)),
            _ => Err(Self::refuse(arguments)),
        }
    }

    #[inline]
    fn parse<M: Mode>(arguments: &'a [u8]) -> Parsed<'a, Self, M::Error> {
        let mut fields = (
            short_string::<M>("basic.deliver consumer_tag"),
            long_long::<M>("basic.deliver delivery_tag"),
            octet::<M>("basic.deliver redelivered"),
            short_string::<M>("basic.deliver exchange"),
            short_string::<M>("basic.deliver routing_key"),
        );
        let (rest, parsed) = fields.parse(arguments)?;
        let (consumer_tag, delivery_tag, bits, exchange, routing_key) = parsed;
        Ok((rest, Deliver { consumer_tag, delivery_tag, redelivered: bits & 1 != 0, exchange, routing_key }))
    }

    #[cold]
    fn refuse(arguments: &'a [u8]) -> Error {
        match octets::complete(Self::parse::<Complete>(arguments)) {
            Ok((rest, _)) => Error::TrailingBytes { what: "basic.deliver", count: rest.len() },
            Err(error) => error,
        }
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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::{
        frame::encode_content, method::Method, properties::EncodedProperties, table::Table,
        wire::text::ShortString,
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
        for end in 4..payload.len() {
            assert!(Deliver::decode(&payload[..end]).is_err(), "cut at {end}");
        }
        let mut longer = payload.to_vec();
        longer.push(0);
        assert_eq!(Deliver::decode(&longer), Err(Error::TrailingBytes { what: "basic.deliver", count: 1 }));
    }

    #[test]
    fn an_error_reads_the_same_as_through_the_table() {
        let payload = encoded(basic::Publish::default()).freeze();
        for end in 4..payload.len() {
            let cut = payload.slice(..end);
            assert_eq!(Publish::decode(&cut).map(|_| ()), Method::decode(&cut).map(|_| ()), "cut at {end}");
        }
    }

    #[test]
    fn properties_read_the_same_as_through_the_table_and_so_do_all_truncations() {
        let mut headers = Table::new();
        headers.insert("compression", "gzip").unwrap();
        headers.insert("number", 1).unwrap();
        let text = ShortString::from_static;
        let all = Properties {
            content_type: Some(text("application/json")),
            content_encoding: Some(text("utf-8")),
            headers: Some(headers),
            delivery_mode: Some(2),
            priority: Some(0),
            correlation_id: Some(text("c")),
            reply_to: Some(text("r")),
            expiration: Some(text("60000")),
            message_id: Some(text("m")),
            timestamp: Some(1),
            kind: Some(text("k")),
            user_id: Some(text("u")),
            app_id: Some(text("a")),
            cluster_id: Some(text("i")),
        };
        let few = Properties { headers: Some(Table::new()), timestamp: Some(2), ..Properties::default() };
        for properties in [all, few, Properties::default()] {
            let encoded = properties.encode().unwrap();
            let encoded = encoded.as_encoded();
            let read = ContentProperties::decode(encoded).unwrap();
            assert_eq!(read.content_type, properties.content_type.as_ref().map(ShortString::as_bytes));
            assert_eq!(
                read.content_encoding,
                properties.content_encoding.as_ref().map(ShortString::as_bytes)
            );
            assert_eq!(read.message_id, properties.message_id.as_ref().map(ShortString::as_bytes));
            assert_eq!(read.headers, properties.headers.as_ref().map(Table::entries));
            let header = properties.headers.as_ref().and_then(|headers| headers.get("compression"));
            assert_eq!(read.header_text("compression"), header.as_ref().and_then(|value| value.as_str()));
            assert_eq!(read.header_text("number"), None);
            for end in 0..encoded.len() {
                let cut = encoded.slice(..end);
                let through_the_table = EncodedProperties::from_encoded(cut.clone()).decode().is_err();
                assert_eq!(ContentProperties::decode(&cut).is_err(), through_the_table, "cut at {end}");
            }
            let longer = [encoded, &b"x"[..]].concat();
            assert_eq!(
                ContentProperties::decode(&longer),
                Err(Error::TrailingBytes { what: "properties", count: 1 })
            );
        }
        assert_eq!(ContentProperties::decode(&[0, 1]), Err(Error::UnknownPropertyFlags(1)));
    }

    #[test]
    fn another_method_is_none_of_these() {
        let payload = encoded(basic::QosOk {});
        assert_eq!(Publish::decode(&payload), Ok(None));
        assert_eq!(Deliver::decode(&payload), Ok(None));
    }
}
