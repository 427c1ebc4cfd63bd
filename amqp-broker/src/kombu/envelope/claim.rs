//! What the hash of claimed messages holds: `[envelope, exchange, routing key]`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    constants::{MASKS, substituted},
    error::EnvelopeError,
    scalar::Scalar,
    write_json::push_text,
};

/// A claimed message, and where it goes if its claim lapses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimEntry<'a> {
    /// The envelope as it was in the queue.
    pub(crate) envelope: &'a [u8],
    /// The exchange that it is routed by again. It is empty in this project's own claims, which go
    /// back to the queue that the routing key names, and to no other.
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

/// Writes an entry for an envelope that came from a queue.
pub(crate) fn claim(envelope: &[u8], queue: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(envelope.len() + queue.len() + 9);
    entry.push(b'[');
    entry.extend_from_slice(envelope);
    entry.extend_from_slice(br#","","#);
    push_text(&mut entry, queue);
    entry.push(b']');
    entry
}

/// Reads an entry, whoever wrote it.
pub(crate) fn decode_claim(entry: &[u8]) -> Result<ClaimEntry<'_>, EnvelopeError> {
    #[derive(Deserialize)]
    struct Columns<'a>(
        #[serde(borrow)] &'a RawValue,
        #[serde(borrow)] Scalar<'a>,
        #[serde(borrow)] Scalar<'a>,
    );
    let read = |columns: &[u8]| {
        let Columns(envelope, exchange, routing_key) = serde_json::from_slice(columns)?;
        let length = envelope.get().len();
        let start = (envelope.get().as_ptr() as usize).saturating_sub(columns.as_ptr() as usize);
        Ok((start..start + length, exchange.text("exchange")?, routing_key.text("routing_key")?))
    };
    let (range, exchange, routing_key) = match read(entry) {
        Err(problem @ EnvelopeError::Json { .. }) => match substituted(entry, &MASKS) {
            Some(masked) => read(&masked)?,
            None => return Err(problem),
        },
        columns => columns?,
    };
    Ok(ClaimEntry {
        envelope: entry.get(range).unwrap_or_default(),
        exchange: exchange.unwrap_or_default(),
        routing_key: routing_key.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_claim_goes_back_to_its_queue_and_keeps_the_envelope_byte_for_byte() {
        let envelope = br#"{ "body":"x","properties" : {"delivery_tag":1.50} }"#;
        let entry = claim(envelope, "q\"\u{e9}");
        assert_eq!(entry, [&b"["[..], envelope, b",\"\",\"q\\\"\xc3\xa9\"]"].concat());
        let read = decode_claim(&entry).unwrap();
        let (exchange, routing_key) = (String::new(), "q\"\u{e9}".to_owned());
        assert_eq!(read, ClaimEntry { envelope, exchange, routing_key });
    }

    #[test]
    fn kombus_claims_are_read() {
        let entry = br#"[{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"correlation_id": "c", "delivery_mode": 2, "delivery_info": {"exchange": "demo", "routing_key": "demo"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "2a703c36-c8ed-4365-b69f-a3f64b0fb904"}}, "demo", "key"]"#;
        let read = decode_claim(entry).unwrap();
        assert_eq!((read.exchange.as_str(), read.routing_key.as_str()), ("demo", "key"));
        assert!(read.envelope.starts_with(b"{\"body\"") && read.envelope.ends_with(b"}}"));
        let anonymous = decode_claim(b"[{}, null, null]").unwrap();
        assert_eq!((anonymous.exchange.as_str(), anonymous.routing_key.as_str()), ("", ""));
    }

    #[test]
    fn what_is_no_claim_is_refused() {
        for entry in [&b""[..], b"[]", b"[1,2]", b"{}", b"[{},[],\"\"]", b"[{},\"\",\"\",1]", b"\xff"] {
            assert!(decode_claim(entry).is_err(), "{entry:?}");
        }
    }
}
