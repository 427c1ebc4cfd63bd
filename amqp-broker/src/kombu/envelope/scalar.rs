//! JSON values that stand where text or a number is expected.

use std::{borrow::Cow, fmt};

use amqp_codec::ShortString;
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{error::EnvelopeError, tagged};

/// A value that is read without regard to its type, because senders differ in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    /// What kombu tags as bytes.
    Bytes(Vec<u8>),
    /// What kombu tags as a date and time, in unix seconds.
    Timestamp(u64),
    /// A list or object.
    Other,
}

/// Borrowed where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Scalar<'_> {
    /// The value as a short string; numbers are converted.
    pub(super) fn short(self, field: &'static str) -> Result<Option<ShortString>, EnvelopeError> {
        let Some(bytes) = self.bytes(field)? else { return Ok(None) };
        let short = ShortString::from_bytes(field, Bytes::from(bytes));
        short.map(Some).map_err(|_| EnvelopeError::field(field, "is over 255 bytes"))
    }

    fn bytes(self, field: &'static str) -> Result<Option<Vec<u8>>, EnvelopeError> {
        Ok(Some(match self {
            Scalar::Text(text) => text.into_owned().into_bytes(),
            Scalar::Bytes(bytes) => bytes,
            Scalar::Integer(n) => n.to_string().into_bytes(),
            Scalar::Timestamp(n) => n.to_string().into_bytes(),
            Scalar::Float(n) => n.to_string().into_bytes(),
            Scalar::Bool(b) => b.to_string().into_bytes(),
            Scalar::Null => return Ok(None),
            Scalar::Other => return Err(EnvelopeError::field(field, "is a list or an object")),
        }))
    }

    /// The value as text; numbers are converted.
    pub(super) fn text(self, field: &'static str) -> Result<Option<String>, EnvelopeError> {
        let Some(bytes) = self.bytes(field)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| EnvelopeError::field(field, "is not text"))
    }

    /// The value as a whole number; fractions are cut off and texts converted, as Python's `int`
    /// does.
    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Scalar::Bool(b) => Some(i128::from(*b)),
            Scalar::Integer(n) => Some(*n),
            Scalar::Float(n) => Some(*n as i128),
            Scalar::Timestamp(n) => Some(i128::from(*n)),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Null | Scalar::Bytes(_) | Scalar::Other => None,
        }
    }

    /// The value as a number of seconds.
    pub(super) fn seconds(&self) -> Option<f64> {
        match self {
            Scalar::Float(n) => Some(*n),
            other => other.integer().map(|n| n as f64),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut value, mut others) = (Scalar::Null, Scalar::Null, false);
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                tagged::TYPE => kind = map.next_value()?,
                tagged::VALUE => value = map.next_value()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    others = true;
                }
            }
        }
        Ok(match (kind, value) {
            (Scalar::Text(kind), Scalar::Text(value)) if !others => untagged(&kind, value),
            _ => Scalar::Other,
        })
    }
}

/// The value of a tagged text.
fn untagged<'a>(kind: &str, value: Cow<'a, str>) -> Scalar<'a> {
    match kind {
        tagged::BYTES => Scalar::Bytes(value.into_owned().into_bytes()),
        tagged::BASE64 => tagged::base64(&value).map_or(Scalar::Other, Scalar::Bytes),
        tagged::DATETIME => match tagged::timestamp(&value) {
            Some(seconds) => Scalar::Timestamp(seconds),
            None => Scalar::Text(value),
        },
        tagged::DATE | tagged::TIME | tagged::DECIMAL => Scalar::Text(value),
        _ => Scalar::Other,
    }
}
