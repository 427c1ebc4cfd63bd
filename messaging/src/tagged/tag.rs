//! The trait of tagged values, and how they are written and read.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
    ser::{Error as _, SerializeStruct as _},
};

use crate::serialize::BoxError;

pub(crate) const TYPE: &str = "__type__";
pub(crate) const VALUE: &str = "__value__";

/// A type that JSON has no form for, and kombu has a tag for.
pub trait Tagged: Sized {
    /// The type of the value under `__value__`.
    type Payload: Serialize + DeserializeOwned;
    /// The possible values under `__type__`.
    const TAGS: &'static [&'static str];

    /// Returns what to write under `__type__` and `__value__`.
    ///
    /// # Errors
    /// When Python has no such value.
    fn to_tagged(&self) -> Result<(&'static str, Self::Payload), BoxError>;

    /// Returns the value for one of [`TAGS`](Self::TAGS) and its payload.
    ///
    /// # Errors
    /// When the payload is invalid.
    fn from_tagged(tag: &str, payload: Self::Payload) -> Result<Self, BoxError>;

    /// Returns what to write in formats without tags.
    ///
    /// # Errors
    /// When Python has no such value.
    fn to_plain(&self) -> Result<Plain<'_>, BoxError>;

    /// Returns the value of a plain string.
    ///
    /// # Errors
    /// When the string is invalid.
    fn from_text(text: &str) -> Result<Self, BoxError>;

    /// Returns the value of plain bytes. By default they are refused.
    ///
    /// # Errors
    /// When the bytes are invalid.
    fn from_bytes(_bytes: &[u8]) -> Result<Self, BoxError> {
        Err("plain bytes are not a value of this type".into())
    }
}

/// A value without its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A field for `#[serde(with = "messaging::tagged")]`: something [`Tagged`], or an `Option` of it.
pub trait Field: Sized {
    /// Writes the field.
    ///
    /// # Errors
    /// When Python has no such value, and those of the format.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the field.
    ///
    /// # Errors
    /// When there is another tag, and those of the format.
    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Serializes a field, for `#[serde(with = "messaging::tagged")]` or `serialize_with`.
///
/// # Errors
/// As [`Field::serialize`].
pub fn serialize<T: Field, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.serialize(serializer)
}

/// Deserializes a field, for `#[serde(with = "messaging::tagged")]` or `deserialize_with`.
///
/// # Errors
/// As [`Field::deserialize`].
pub fn deserialize<'de, T: Field, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer)
}

impl<T: Tagged> Field for T {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let (tag, payload) = self.to_tagged().map_err(S::Error::custom)?;
            let mut tagged = serializer.serialize_struct("Tagged", 2)?;
            tagged.serialize_field(TYPE, tag)?;
            tagged.serialize_field(VALUE, &payload)?;
            return tagged.end();
        }
        match self.to_plain().map_err(S::Error::custom)? {
            Plain::Text(text) => serializer.serialize_str(&text),
            Plain::Bytes(bytes) => serializer.serialize_bytes(bytes),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

impl<T: Tagged> Field for Option<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_none(),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Present<T>(T);

        impl<'de, T: Tagged> Deserialize<'de> for Present<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <T as Field>::deserialize(deserializer).map(Present)
            }
        }

        Ok(Option::<Present<T>>::deserialize(deserializer)?.map(|present| present.0))
    }
}

/// Reads a value tagged or plain.
struct Reader<T>(PhantomData<T>);

impl<'de, T: Tagged> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, tagged or as a plain string", T::TAGS.join(" or "))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        T::from_bytes(bytes).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut octets: A) -> Result<T, A::Error> {
        let mut bytes = Vec::new();
        while let Some(octet) = octets.next_element()? {
            bytes.push(octet);
        }
        self.visit_bytes(&bytes)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<T, A::Error> {
        let (mut tag, mut payload) = (None, None);
        while let Some(key) = entries.next_key::<String>()? {
            match key.as_str() {
                TYPE => tag = Some(known::<T, A::Error>(entries.next_value()?)?),
                VALUE => payload = Some(entries.next_value()?),
                other => return Err(A::Error::unknown_field(other, &[TYPE, VALUE])),
            }
        }
        let tag = tag.ok_or_else(|| A::Error::missing_field(TYPE))?;
        let payload = payload.ok_or_else(|| A::Error::missing_field(VALUE))?;
        T::from_tagged(&tag, payload).map_err(A::Error::custom)
    }
}

/// Returns the tag if it is one of the type's.
fn known<T: Tagged, E: serde::de::Error>(tag: String) -> Result<String, E> {
    if T::TAGS.contains(&tag.as_str()) {
        return Ok(tag);
    }
    Err(E::custom(format_args!("the __type__ is {tag:?}, not {}", T::TAGS.join(" or "))))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use crate::tagged;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        #[serde(with = "tagged")]
        naive: NaiveDateTime,
        #[serde(with = "tagged")]
        utc: DateTime<Utc>,
        #[serde(with = "tagged")]
        fixed: DateTime<FixedOffset>,
        #[serde(with = "tagged")]
        date: NaiveDate,
        #[serde(with = "tagged")]
        time: NaiveTime,
        #[serde(with = "tagged")]
        decimal: Decimal,
        #[serde(with = "tagged")]
        uuid: Uuid,
        #[serde(with = "tagged")]
        text_bytes: Vec<u8>,
        #[serde(with = "tagged")]
        other_bytes: Bytes,
        #[serde(with = "tagged")]
        some: Option<NaiveDate>,
        #[serde(with = "tagged", default)]
        none: Option<Uuid>,
    }

    /// The output of kombu.utils.json.dumps 5.7 for the same values, without its spaces.
    const KOMBU: &str = concat!(
        r#"{"naive":{"__type__":"datetime","__value__":"2024-01-02T03:04:05.678901"},"#,
        r#""utc":{"__type__":"datetime","__value__":"2024-01-02T03:04:05+00:00"},"#,
        r#""fixed":{"__type__":"datetime","__value__":"2024-01-02T03:04:05-03:30"},"#,
        r#""date":{"__type__":"date","__value__":"2024-01-02"},"#,
        r#""time":{"__type__":"time","__value__":"03:04:05.000006"},"#,
        r#""decimal":{"__type__":"decimal","__value__":"1.50"},"#,
        r#""uuid":{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}},"#,
        r#""text_bytes":{"__type__":"bytes","__value__":"abc"},"#,
        r#""other_bytes":{"__type__":"base64","__value__":"/wA="},"#,
        r#""some":{"__type__":"date","__value__":"2024-01-02"},"#,
        r#""none":null}"#,
    );
    const PLAIN: &str = concat!(
        r#"{"naive":"2024-01-02T03:04:05.678901","utc":"2024-01-02T03:04:05Z","fixed":"2024-01-02T03:04:05-03:30","#,
        r#""date":"2024-01-02T00:00:00","time":"03:04:05.000006","decimal":"1.50","#,
        r#""uuid":"12345678-1234-5678-1234-567812345678","text_bytes":"abc","other_bytes":[255,0],"some":"2024-01-02"}"#,
    );

    #[test]
    fn what_kombu_writes_is_read_and_written_the_same() {
        let read: Everything = serde_json::from_str(KOMBU).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), KOMBU);
        assert_eq!(read.other_bytes, &b"\xff\0"[..]);
        assert_eq!((read.some, read.none), (Some(read.date), None));
    }

    #[test]
    fn plain_strings_of_older_kombus_are_read_as_the_same() {
        let tagged: Everything = serde_json::from_str(KOMBU).unwrap();
        assert_eq!(serde_json::from_str::<Everything>(PLAIN).unwrap(), tagged);
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn message_pack_holds_plain_strings_and_bytes() {
        use crate::{serialize::Serializers, tagged::value::Value};

        let value: Everything = serde_json::from_str(KOMBU).unwrap();
        let body = Serializers::new().encode("msgpack", &value).unwrap().body;
        let plain: Value = rmp_serde::from_slice(&body).unwrap();
        assert_eq!(plain.get("utc"), Some(&"2024-01-02T03:04:05+00:00".into()));
        assert_eq!(plain.get("uuid"), Some(&"12345678-1234-5678-1234-567812345678".into()));
        assert_eq!(plain.get("other_bytes"), Some(&value.other_bytes.clone().into()));
        assert_eq!(rmp_serde::from_slice::<Everything>(&body).unwrap(), value);
    }

    #[test]
    fn another_tag_and_what_is_no_tag_at_all_are_refused_by_name() {
        #[derive(Debug, Deserialize)]
        struct Day {
            #[serde(with = "tagged")]
            _date: NaiveDate,
        }
        for (date, error) in [
            (r#"{"__type__":"complex","__value__":"1"}"#, r#"__type__ is "complex", not date"#),
            (r#"{"__value__":"2024-01-02","__type__":"time"}"#, r#"__type__ is "time", not date"#),
            (r#"{"__type__":"date"}"#, "missing field `__value__`"),
            (r#"{"__value__":"2024-01-02"}"#, "missing field `__type__`"),
            (r#"{"__type__":"date","__value__":"2024-01-02","more":1}"#, "unknown field `more`"),
            (r#"{"__type__":"date","__value__":"never"}"#, "\"never\" is not an ISO date"),
            ("5", "expected date, tagged or as a plain string"),
            ("[1,256]", "256"),
            ("null", "expected date"),
        ] {
            let refused = serde_json::from_str::<Day>(&format!(r#"{{"_date":{date}}}"#)).unwrap_err();
            assert!(refused.to_string().contains(error), "{refused}");
        }
    }
}
