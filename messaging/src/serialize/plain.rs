//! Bodies that are plain text or bytes: `text`, `raw`, and unknown content types.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{
    de::{
        Deserializer, Error as _, Visitor,
        value::{Error, SeqDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    serializer::{BoxError, ReadValue, Serializer},
    text_or_bytes,
};
use crate::error::Malformed;

/// `text`: a string, unchanged.
pub(super) struct Text;

/// `raw`: bytes, unchanged; a string is accepted as well.
pub(super) struct Raw;

impl Serializer for Text {
    fn name(&self) -> &str {
        "text"
    }

    fn content_type(&self) -> &str {
        "text/plain"
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError> {
        Ok(text_or_bytes::text(value)?.into())
    }

    fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError> {
        let plain = Plain::Text(str::from_utf8(body)?.into());
        Ok(read(&mut <dyn erased_serde::Deserializer<'_>>::erase(plain))?)
    }
}

impl Serializer for Raw {
    fn name(&self) -> &str {
        "raw"
    }

    fn content_type(&self) -> &str {
        "application/data"
    }

    fn content_encoding(&self) -> &str {
        "binary"
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError> {
        Ok(text_or_bytes::bytes(value)?.into())
    }

    fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError> {
        Ok(read(&mut <dyn erased_serde::Deserializer<'_>>::erase(Plain::Bytes(body)))?)
    }
}

/// A body that is read as text or bytes.
pub(super) enum Plain<'a> {
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// An empty body, in a content type that is neither text nor bytes.
    Empty,
}

impl<'a> Plain<'a> {
    /// Decodes a body as its content encoding says; without one it is UTF-8, as for kombu.
    pub(super) fn new(body: &'a [u8], content_encoding: Option<&str>) -> Result<Self, Malformed> {
        let encoding = content_encoding.unwrap_or("utf-8").to_ascii_lowercase();
        let is = |names: &[&str]| names.contains(&encoding.as_str());
        let not_in_it = |source: BoxError| Malformed::Text { content_encoding: encoding.clone(), source };
        Ok(if is(&["binary", "ascii-8bit"]) {
            Plain::Bytes(body)
        } else if is(&["utf-8", "utf8", "utf_8", ""]) {
            Plain::Text(str::from_utf8(body).map_err(|error| not_in_it(error.into()))?.into())
        } else if is(&["us-ascii", "ascii"]) {
            let ascii = Some(body).filter(|body| body.is_ascii()).and_then(|body| str::from_utf8(body).ok());
            Plain::Text(ascii.ok_or_else(|| not_in_it("it has bytes over 127".into()))?.into())
        } else if is(&["latin-1", "latin1", "latin_1", "iso-8859-1", "iso8859-1", "l1"]) {
            Plain::Text(body.iter().copied().map(char::from).collect::<String>().into())
        } else {
            return Err(Malformed::ContentEncoding(encoding));
        })
    }

    fn text(&self) -> Result<&str, Error> {
        match self {
            Plain::Text(text) => Ok(text),
            Plain::Bytes(bytes) => str::from_utf8(bytes).map_err(Error::custom),
            Plain::Empty => Ok(""),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Plain::Text(text) => text.as_bytes(),
            Plain::Bytes(bytes) => bytes,
            Plain::Empty => b"",
        }
    }
}

/// Converts text and bytes to each other if a type asks for it.
impl<'de> Deserializer<'de> for Plain<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Plain::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Plain::Text(Cow::Borrowed(text)) => visitor.visit_str(text),
            Plain::Bytes(bytes) => visitor.visit_bytes(bytes),
            Plain::Empty => visitor.visit_bytes(b""),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bytes(self.bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    /// Deserializes a `Vec<u8>`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Plain::Empty => self.deserialize_any(visitor),
            _ => visitor.visit_seq(SeqDeserializer::new(self.bytes().iter().copied())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Plain::Empty => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.bytes().is_empty() { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Deserializes the name of a variant.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(StringDeserializer::new(self.text()?.to_owned()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::de::{Deserialize, DeserializeOwned};

    use super::*;

    fn read<T: DeserializeOwned>(body: &[u8], encoding: Option<&str>) -> Result<T, String> {
        let plain = Plain::new(body, encoding).map_err(|error| error.to_string())?;
        T::deserialize(plain).map_err(|error| error.to_string())
    }

    #[test]
    fn the_encoding_tells_text_from_bytes_and_either_becomes_what_is_asked_for() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        enum Answer {
            Yes,
        }
        for encoding in [None, Some("UTF-8"), Some("utf8"), Some("binary"), Some("")] {
            assert_eq!(read::<String>("é".as_bytes(), encoding).unwrap(), "é");
            assert_eq!(read::<Vec<u8>>("é".as_bytes(), encoding).unwrap(), "é".as_bytes());
            assert_eq!(read::<Bytes>("é".as_bytes(), encoding).unwrap(), "é");
            assert_eq!(read::<Option<String>>(b"", encoding).unwrap(), Some(String::new()));
            assert_eq!(read::<()>(b"", encoding), Ok(()));
            assert_eq!(read::<Answer>(b"Yes", encoding).unwrap(), Answer::Yes);
        }
        assert_eq!(read::<String>(b"\xe9", Some("latin-1")).unwrap(), "é");
        assert_eq!(read::<String>(b"e", Some("us-ascii")).unwrap(), "e");
        assert_eq!(read::<Vec<u8>>(b"\xff", Some("binary")).unwrap(), [0xff]);
    }

    #[test]
    fn what_the_encoding_does_not_allow_is_refused_and_so_is_an_unknown_one() {
        for (body, encoding, error) in [
            (&b"\xff"[..], None, "is not valid utf-8"),
            (b"\xff", Some("ascii"), "is not valid ascii"),
            (b"\xff", Some("utf-16"), "\"utf-16\""),
        ] {
            let said = read::<String>(body, encoding).unwrap_err();
            assert!(said.contains(error), "{said}");
        }
        assert!(read::<String>(b"\xff", Some("binary")).is_err());
    }

    #[test]
    fn text_is_no_number_and_no_map() {
        assert!(read::<u32>(b"5", None).unwrap_err().contains("expected u32"));
        assert!(read::<std::collections::BTreeMap<String, String>>(b"{}", None).is_err());
        assert!(read::<Vec<u16>>(b"{}", None).is_ok(), "octets are numbers");
    }

    #[test]
    fn nothing_is_no_list_and_no_struct() {
        assert_eq!(Option::<Vec<u8>>::deserialize(Plain::Empty), Ok(None));
        assert_eq!(String::deserialize(Plain::Empty).unwrap(), "");
        assert!(Vec::<String>::deserialize(Plain::Empty).is_err());
        assert!(std::collections::BTreeMap::<String, u8>::deserialize(Plain::Empty).is_err());
    }
}
