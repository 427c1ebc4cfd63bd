//! MessagePack as kombu writes it: text and bytes are distinct, and structs are maps.

use bytes::Bytes;
use rmp_serde::{Deserializer, config::DefaultConfig, decode::ReadReader};
use serde::{Serialize, de::DeserializeOwned};

use super::serializer::{BoxError, ReadValue, Serializer};

/// The limit of nesting, the same as for JSON.
const DEPTH: usize = 128;

/// `msgpack`: kombu's `use_bin_type=True` and `raw=False`.
pub(super) struct MessagePack;

impl Serializer for MessagePack {
    fn name(&self) -> &str {
        "msgpack"
    }

    fn content_type(&self) -> &str {
        "application/x-msgpack"
    }

    fn content_encoding(&self) -> &str {
        "binary"
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError> {
        Ok(to_message_pack(value)?)
    }

    fn decode(&self, mut body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError> {
        read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut deserializer(&mut body)))?;
        ended(body)
    }
}

pub(super) fn to_message_pack<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(value).map(Bytes::from)
}

pub(super) fn from_message_pack<T: DeserializeOwned>(mut body: &[u8]) -> Result<T, BoxError> {
    let value = T::deserialize(&mut deserializer(&mut body))?;
    ended(body)?;
    Ok(value)
}

fn deserializer<'a, 'b>(body: &'a mut &'b [u8]) -> Deserializer<ReadReader<&'a mut &'b [u8]>, DefaultConfig> {
    let mut deserializer = Deserializer::new(body);
    deserializer.set_max_depth(DEPTH);
    deserializer
}

/// Checks that a body has only one value.
fn ended(rest: &[u8]) -> Result<(), BoxError> {
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes follow the value", rest.len()).into()) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Job {
        name: String,
        size: u64,
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    }

    #[test]
    fn structs_are_maps_and_bytes_are_not_text() {
        let job = Job { name: "é".into(), size: 300, data: vec![0xff, 0] };
        let body = to_message_pack(&job).unwrap();
        // msgpack.packb({"name": "é", "size": 300, "data": b"\xff\0"}, use_bin_type=True)
        assert_eq!(body, b"\x83\xa4name\xa2\xc3\xa9\xa4size\xcd\x01\x2c\xa4data\xc4\x02\xff\x00"[..]);
        assert_eq!(from_message_pack::<Job>(&body).unwrap(), job);
    }

    #[test]
    fn a_body_cut_anywhere_or_with_more_behind_it_is_refused() {
        let body = to_message_pack(&json!({"a": [1, "text", null, 1.5], "b": {"c": true}})).unwrap();
        for end in 0..body.len() {
            assert!(from_message_pack::<Value>(&body[..end]).is_err(), "cut at {end}");
        }
        assert!(from_message_pack::<Value>(&[&body[..], b"\xc0"].concat()).is_err());
    }

    #[test]
    fn nesting_ends_and_claims_of_length_cost_nothing() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert!(from_message_pack::<Value>(&nested(100)).is_ok());
        assert!(from_message_pack::<Value>(&nested(100_000)).is_err());
        for claim in [
            &b"\xdd\xff\xff\xff\xff"[..],
            b"\xdf\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
        ] {
            assert!(from_message_pack::<Value>(claim).is_err());
        }
    }
}
