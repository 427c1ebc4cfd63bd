//! The two methods of the hot path, read without touching a reference count or allocating: `basic.publish`, of which a broker
//! reads millions, and `basic.deliver`, of which a client does.

use crate::error::Error;

/// The first four octets of a `basic.publish` payload: class 60, method 40.
pub const PUBLISH: [u8; 4] = [0, 60, 0, 40];

/// The first four octets of a `basic.deliver` payload: class 60, method 60.
pub const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// `basic.publish`, its strings borrowed from the payload.
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
        method::{Method, basic},
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
