//! A message as it arrived: slices of the read buffer, and offsets into them.

use amqp_codec::{
    ContentHeader, EncodedProperties, Error as CodecError, RawProperties, borrowed::ContentProperties,
};
use bytes::{BufMut, Bytes, BytesMut};

/// The header with a message's offset in its stream
/// (<https://www.rabbitmq.com/docs/streams#consuming>), and the consumer argument that asks for
/// one.
pub(crate) const OFFSET: &str = "x-stream-offset";

/// Where the exchange's name begins in a method frame's payload, for each method with content.
pub(crate) mod exchange_at {
    /// The offset is class 2, method 2, delivery tag 8, bits 1.
    pub(crate) const GET_OK: usize = 13;
}

/// A message from the broker, undecoded.
#[derive(Clone, Debug)]
pub(crate) struct RawDelivery {
    /// The bytes from the method frame's payload to the end of the header frame's payload; or both
    /// without what lies between them, except that the body size always precedes the properties.
    head: Bytes,
    pub(crate) body: Bytes,
    pub(crate) tag: u64,
    /// The offset in `head` of the exchange's length octet; the routing key follows the exchange.
    exchange_at: u16,
    /// The offset in `head` of the property flags.
    properties_at: u16,
    pub(crate) redelivered: bool,
    pub(crate) no_ack: bool,
}

impl RawDelivery {
    /// Takes the method and header payloads, which `head` holds at its start and from
    /// `properties_at` on.
    #[inline]
    pub(crate) fn new(
        head: Bytes,
        exchange_at: usize,
        properties_at: usize,
        body: Bytes,
        tag: u64,
        redelivered: bool,
        no_ack: bool,
    ) -> Self {
        // Payloads of methods with content are under 1 KiB: three short strings and fixed fields.
        let exchange_at = exchange_at as u16;
        let properties_at = properties_at as u16;
        RawDelivery { head, body, tag, exchange_at, properties_at, redelivered, no_ack }
    }

    pub(crate) fn exchange(&self) -> &[u8] {
        self.short_at(usize::from(self.exchange_at))
    }

    pub(crate) fn routing_key(&self) -> &[u8] {
        let at = usize::from(self.exchange_at);
        self.short_at(at + 1 + self.short_at(at).len())
    }

    pub(crate) fn properties(&self) -> EncodedProperties {
        let at = usize::from(self.properties_at).min(self.head.len());
        EncodedProperties::from_encoded(self.head.slice(at..))
    }

    /// Flags and property list.
    pub(crate) fn property_bytes(&self) -> &[u8] {
        self.head.get(usize::from(self.properties_at)..).unwrap_or_default()
    }

    /// Its offset in a stream, if it is from one: RabbitMQ sends it in a header.
    pub(crate) fn stream_offset(&self) -> Option<u64> {
        let Ok(properties) = ContentProperties::decode(self.property_bytes()) else {
            return self.stream_offset_beside_unreadable_headers();
        };
        let offset = properties.headers?.find(|(name, _)| *name == OFFSET.as_bytes())?.1.as_i64()?;
        u64::try_from(offset).ok()
    }

    /// Other headers may be nested too deep to be decoded.
    #[cold]
    fn stream_offset_beside_unreadable_headers(&self) -> Option<u64> {
        let headers = RawProperties::split(&self.properties()).and_then(|raw| raw.headers()).ok()?;
        u64::try_from(headers.get(OFFSET)?.as_i64()?).ok()
    }

    /// Returns the size of the body, if the body was dropped on arrival.
    pub(crate) fn withheld(&self) -> Option<u64> {
        let before = self.head.get(..usize::from(self.properties_at))?;
        let size = u64::from_be_bytes(*before.last_chunk()?);
        (size > self.body.len() as u64).then_some(size)
    }

    /// Replaces the properties.
    pub(crate) fn set_properties(&mut self, properties: &EncodedProperties) {
        let before = self.head.get(..usize::from(self.properties_at)).unwrap_or_default();
        self.head = [before, properties.as_encoded()].concat().into();
    }

    /// Tells whether it is requeued when nobody will process it. A stream's message is not:
    /// RabbitMQ closes the connection for it.
    pub(crate) fn may_be_given_back(&self) -> bool {
        !self.no_ack && self.stream_offset().is_none()
    }

    /// Returns how many bytes it holds, for limits.
    pub(crate) fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Copies it out of the read buffer that it is a slice of.
    pub(crate) fn detach(&mut self) {
        self.head = Bytes::copy_from_slice(&self.head);
        self.body = Bytes::copy_from_slice(&self.body);
    }

    fn short_at(&self, at: usize) -> &[u8] {
        let length = self.head.get(at).map_or(0, |&length| usize::from(length));
        self.head.get(at + 1..at + 1 + length).unwrap_or_default()
    }
}

/// Joins a method payload and the rest of a header payload that came in different reads; returns
/// where the properties are.
pub(crate) fn join_head(method: &Bytes, header: &ContentHeader) -> (Bytes, usize) {
    let properties = header.properties.as_encoded();
    let mut head = BytesMut::with_capacity(method.len() + 8 + properties.len());
    head.extend_from_slice(method);
    head.put_u64(header.body_size);
    let properties_at = head.len();
    head.extend_from_slice(properties);
    (head.freeze(), properties_at)
}

/// Checks that the two short strings at `at` lie within the payload; returns where they end.
pub(crate) fn check_exchange_and_key(payload: &[u8], at: usize) -> Result<usize, CodecError> {
    let mut end = at;
    for what in ["exchange", "routing_key"] {
        let rest = payload.get(end..).unwrap_or_default();
        let needed = rest.first().map_or(1, |&length| 1 + usize::from(length));
        if rest.len() < needed {
            return Err(CodecError::Truncated { what, needed, left: rest.len() });
        }
        end += needed;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_key_and_properties_are_found_by_their_marks() {
        let method = Bytes::from_static(b"\0<\0<\x01c\0\0\0\0\0\0\0\x07\0\x02ex\x03key");
        let properties = EncodedProperties::from_encoded(Bytes::from_static(&[0x10, 0, 2]));
        let (head, properties_at) =
            join_head(&method, &ContentHeader { class_id: 60, body_size: 5, properties });
        let body = Bytes::from_static(b"hello");
        let delivery = RawDelivery::new(head, 15, properties_at, body, 7, false, false);
        assert_eq!(delivery.exchange(), b"ex");
        assert_eq!(delivery.routing_key(), b"key");
        assert_eq!(delivery.properties().decode().unwrap().delivery_mode, Some(2));
        assert_eq!(delivery.withheld(), None);
        let mut other = RawDelivery { body: Bytes::new(), ..delivery };
        other.set_properties(&EncodedProperties::NONE);
        assert_eq!((other.exchange(), other.routing_key()), (&b"ex"[..], &b"key"[..]));
        assert_eq!((other.withheld(), other.properties()), (Some(5), EncodedProperties::NONE));
    }

    #[test]
    fn strings_that_reach_past_the_payload_are_refused() {
        assert_eq!(check_exchange_and_key(b"..\x01e\x01k", 2), Ok(6));
        assert!(check_exchange_and_key(b"..\x01e\x02k", 2).is_err());
        assert!(check_exchange_and_key(b"..\x01e", 2).is_err());
        assert!(check_exchange_and_key(b"..", 2).is_err());
    }
}
