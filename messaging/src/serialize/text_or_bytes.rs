//! The text or the bytes that a value is.

use std::fmt;

use serde::{
    Serialize,
    de::{Deserialize, Deserializer, SeqAccess, Visitor},
};

use super::serializer::BoxError;

/// The bytes of a value that is a string.
pub(super) fn text<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, BoxError> {
    match TextOrBytes::of(value)? {
        TextOrBytes::Text(text) => Ok(text.into()),
        TextOrBytes::Bytes(_) => Err("expected a string, not bytes".into()),
    }
}

/// The bytes of a value that is bytes or a string.
pub(super) fn bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, BoxError> {
    match TextOrBytes::of(value)? {
        TextOrBytes::Text(text) => Ok(text.into()),
        TextOrBytes::Bytes(bytes) => Ok(bytes),
    }
}

enum TextOrBytes {
    Text(String),
    Bytes(Vec<u8>),
}

impl TextOrBytes {
    /// By way of MessagePack, which tells strings and bytes from all else.
    fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, BoxError> {
        let mut written = Vec::new();
        value.serialize(&mut rmp_serde::Serializer::new(&mut written).with_human_readable())?;
        Ok(rmp_serde::from_slice(&written)?)
    }
}

impl<'de> Deserialize<'de> for TextOrBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = TextOrBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or bytes")
            }

            fn visit_str<E>(self, text: &str) -> Result<TextOrBytes, E> {
                Ok(TextOrBytes::Text(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<TextOrBytes, E> {
                Ok(TextOrBytes::Bytes(bytes.to_owned()))
            }

            /// A `Vec<u8>` is one for serde.
            fn visit_seq<A: SeqAccess<'de>>(self, mut octets: A) -> Result<TextOrBytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(octet) = octets.next_element()? {
                    bytes.push(octet);
                }
                Ok(TextOrBytes::Bytes(bytes))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_text_and_octets_bytes_however_they_are_held() {
        #[derive(Serialize)]
        struct Name(String);
        assert_eq!(text("é").unwrap(), "é".as_bytes());
        assert_eq!(text(&Some(Name("n".into()))).unwrap(), b"n");
        assert_eq!(bytes(&[0_u8, 128, 255][..]).unwrap(), [0, 128, 255]);
        assert_eq!(bytes(&serde_bytes::Bytes::new(b"\xff")).unwrap(), [0xff]);
        assert_eq!(bytes(&::bytes::Bytes::from_static(b"b")).unwrap(), b"b");
        assert_eq!(bytes("é").unwrap(), "é".as_bytes());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for value in [json!(1), json!(null), json!({"a": 1}), json!([1, 256]), json!([1, -1]), json!(["a"])] {
            assert!(bytes(&value).is_err() && text(&value).is_err(), "{value}");
        }
        assert!(text(&b"abc"[..]).is_err());
    }
}
