//! A value of a request, of any type.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;

/// A text, borrowed if nothing in it is escaped, or another value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    Text(Cow<'a, str>),
    Other(Value),
}

impl<'a> Field<'a> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Field::Text(text) => Some(text),
            Field::Other(_) => None,
        }
    }

    /// Returns the text; `None` if it is empty or not a text, because Python tests for truth.
    pub(crate) fn into_true_text(self) -> Option<Cow<'a, str>> {
        match self {
            Field::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Writes a text without its quotes.
impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Text(text) => f.write_str(text),
            Field::Other(value) => value.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Other(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Field::Other(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Field::Other(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Field::Other(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Field::Other(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(elements)).map(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(entries)).map(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        for value in [
            json!(null),
            json!(true),
            json!(-1),
            json!(u64::MAX),
            json!(1.5),
            json!([1, "a"]),
            json!({"a": [null]}),
        ] {
            let text = value.to_string();
            let field: Field<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(field.to_string(), text);
            assert_eq!(field, Field::Other(value));
        }
        let (plain, escaped) = (r#""é""#, r#""\"""#);
        assert!(matches!(serde_json::from_str(plain).unwrap(), Field::Text(Cow::Borrowed("é"))));
        let field: Field<'_> = serde_json::from_str(escaped).unwrap();
        assert_eq!((field.to_string().as_str(), field.as_text()), ("\"", Some("\"")));
    }

    #[test]
    fn only_text_that_says_something_is_true() {
        for (json, text) in [(r#""x""#, Some("x")), (r#""""#, None), ("1", None), ("null", None)] {
            let field: Field<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(field.into_true_text().as_deref(), text);
        }
    }
}
