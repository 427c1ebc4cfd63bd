//! Further routing keys in the headers `CC` and `BCC` (<https://www.rabbitmq.com/sender-selected.html>).

use amqp_codec::{EncodedProperties, Error, ShortString, Table, Value, content::CONTENT_HEADER_LEN};
use bytes::Bytes;

use super::{message::Draft, properties::Relevant, refusal::Refusal, term::type_name};

/// The further keys of a message that has some.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) keys: Vec<ShortString>,
    /// From which on they are those of `BCC`.
    pub(crate) blind_from: usize,
    /// Whether there is a `BCC`, which no receiver may see.
    pub(crate) blind: bool,
}

impl Copies {
    /// Reads them; `None` when there are none, which is told cheaply.
    #[inline]
    pub(crate) fn read(relevant: &Relevant<'_>) -> Result<Option<Self>, Refusal> {
        match relevant.headers {
            Some(encoded) if may_name_copies(encoded) => Self::decode(encoded),
            _ => Ok(None),
        }
    }

    #[cold]
    fn decode(encoded: &[u8]) -> Result<Option<Self>, Refusal> {
        let headers = Table::from_encoded(Bytes::copy_from_slice(encoded)).map_err(Refusal::Syntax)?;
        let mut keys = Vec::new();
        let mut blind_from = 0;
        for header in ["CC", "BCC"] {
            blind_from = keys.len();
            match headers.get(header) {
                None => {}
                Some(Value::Array(values)) => {
                    for value in &values {
                        // What is no text is no key: RabbitMQ passes it over.
                        if let Value::LongString(key) = value {
                            keys.extend(ShortString::from_bytes(header, key.into_bytes()));
                        }
                    }
                }
                Some(other) => return Err(unacceptable(header, &other)),
            }
        }
        let blind = headers.contains_key("BCC");
        Ok((blind || !keys.is_empty()).then_some(Copies { keys, blind_from, blind }))
    }
}

fn unacceptable(header: &'static str, value: &Value) -> Refusal {
    Refusal::InvalidCarbonCopy { header, kind: type_name(value) }
}

/// Whether "CC" stands anywhere in the headers.
fn may_name_copies(encoded: &[u8]) -> bool {
    memchr::memchr_iter(b'C', encoded).any(|index| encoded.get(index + 1) == Some(&b'C'))
}

/// Takes the header `BCC` out of a message.
pub(crate) fn remove_blind_copies(draft: &mut Draft) -> Result<(), Refusal> {
    let header = draft.parts().header;
    let (fixed, properties) = header.split_at_checked(CONTENT_HEADER_LEN).unwrap_or_default();
    let encoded = EncodedProperties::from_encoded(Bytes::copy_from_slice(properties));
    let mut payload = fixed.to_vec();
    let rewritten = encoded.decode().and_then(|mut properties| {
        if let Some(headers) = &mut properties.headers {
            headers.remove("BCC");
        }
        properties.encode()
    });
    payload.extend_from_slice(rewritten.map_err(|error: Error| Refusal::Syntax(error))?.as_encoded());
    draft.replace_header(&payload);
    Ok(())
}
