//! The settlements of deliveries and publishes, read without the table of methods because they are
//! on the hot path.

use nom::{Complete, Parser as _};

use crate::{
    error::Error,
    method::{Arguments as _, MethodId, basic},
    wire::octets::{self, Mode, Parsed, Silent, long_long, octet},
};

/// `basic.ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The tag of the delivery, or of the publish.
    pub delivery_tag: u64,
    /// Settles all unsettled ones with lower tags as well.
    pub multiple: bool,
}

/// `basic.nack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The tag of the delivery, or of the publish.
    pub delivery_tag: u64,
    /// Settles all unsettled ones with lower tags as well.
    pub multiple: bool,
    /// Asks for the message to be delivered again.
    pub requeue: bool,
}

/// `basic.reject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The tag of the delivery.
    pub delivery_tag: u64,
    /// Asks for the message to be delivered again.
    pub requeue: bool,
}

impl Ack {
    /// Reads a method frame's payload; `None` when it is another method.
    ///
    /// # Errors
    /// A field that reaches past the end, bytes left over.
    #[inline]
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, Error> {
        let names = ["basic.ack", "basic.ack delivery_tag", "basic.ack multiple"];
        let fields = tag_and_bits(payload, basic::Ack::ID, names)?;
        Ok(fields.map(|(delivery_tag, bits)| Ack { delivery_tag, multiple: bits & 1 != 0 }))
    }
}

impl Nack {
    /// Reads a method frame's payload; `None` when it is another method.
    ///
    /// # Errors
    /// A field that reaches past the end, bytes left over.
    #[inline]
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, Error> {
        let names = ["basic.nack", "basic.nack delivery_tag", "basic.nack multiple"];
        let fields = tag_and_bits(payload, basic::Nack::ID, names)?;
        Ok(fields.map(|(delivery_tag, bits)| Nack {
            delivery_tag,
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        }))
    }
}

impl Reject {
    /// Reads a method frame's payload; `None` when it is another method.
    ///
    /// # Errors
    /// A field that reaches past the end, bytes left over.
    #[inline]
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, Error> {
        let names = ["basic.reject", "basic.reject delivery_tag", "basic.reject requeue"];
        let fields = tag_and_bits(payload, basic::Reject::ID, names)?;
        Ok(fields.map(|(delivery_tag, bits)| Reject { delivery_tag, requeue: bits & 1 != 0 }))
    }
}

/// Reads the arguments that all three methods share: a tag, then bits in one octet. The macro's
/// arguments name the method, its tag and its first bit.
#[inline]
fn tag_and_bits(payload: &[u8], id: MethodId, names: [&'static str; 3]) -> Result<Option<(u64, u8)>, Error> {
    let Some(arguments) = payload.strip_prefix(&id.octets()) else { return Ok(None) };
    match fields::<Silent>(arguments, names) {
        Ok(([], fields)) => Ok(Some(fields)),
        _ => Err(refuse(arguments, names)),
    }
}

#[inline]
fn fields<'a, M: Mode>(
    arguments: &'a [u8],
    [_, tag, bits]: [&'static str; 3],
) -> Parsed<'a, (u64, u8), M::Error> {
    (long_long::<M>(tag), octet::<M>(bits)).parse(arguments)
}

#[cold]
fn refuse(arguments: &[u8], names: [&'static str; 3]) -> Error {
    match octets::complete(fields::<Complete>(arguments, names)) {
        Ok((rest, _)) => Error::TrailingBytes { what: names[0], count: rest.len() },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::method::Method;

    fn encoded(method: impl Into<Method>) -> BytesMut {
        let mut out = BytesMut::new();
        method.into().encode(&mut out).unwrap();
        out
    }

    #[test]
    fn settlements_read_the_same_as_through_the_table() {
        let delivery_tag = 1 << 40 | 7;
        for (first, second) in [(false, false), (true, false), (false, true), (true, true)] {
            let ack = encoded(basic::Ack { delivery_tag, multiple: first });
            let nack = encoded(basic::Nack { delivery_tag, multiple: first, requeue: second });
            let reject = encoded(basic::Reject { delivery_tag, requeue: first });
            assert_eq!(Ack::decode(&ack), Ok(Some(Ack { delivery_tag, multiple: first })));
            let read = Nack { delivery_tag, multiple: first, requeue: second };
            assert_eq!(Nack::decode(&nack), Ok(Some(read)));
            assert_eq!(Reject::decode(&reject), Ok(Some(Reject { delivery_tag, requeue: first })));
            assert_eq!(
                (Ack::decode(&nack), Nack::decode(&ack), Reject::decode(&ack)),
                (Ok(None), Ok(None), Ok(None))
            );
        }
    }

    #[test]
    fn what_is_cut_off_or_left_over_is_told_as_through_the_table() {
        let payloads = [
            encoded(basic::Ack::default()),
            encoded(basic::Nack::default()),
            encoded(basic::Reject::default()),
        ];
        for payload in payloads {
            let payload = [&payload[..], b"x"].concat();
            for end in (4..13).chain([14]) {
                let cut = &payload[..end];
                let error = Method::decode(&bytes::Bytes::copy_from_slice(cut)).unwrap_err();
                let read = [
                    Ack::decode(cut).map(|read| read.is_some()),
                    Nack::decode(cut).map(|read| read.is_some()),
                    Reject::decode(cut).map(|read| read.is_some()),
                ];
                assert_eq!(
                    read.iter().filter(|read| **read == Err(error.clone())).count(),
                    1,
                    "{end} octets"
                );
                assert_eq!(read.iter().filter(|read| **read == Ok(false)).count(), 2, "{end} octets");
            }
        }
    }
}
