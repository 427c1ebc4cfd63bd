//! A value of any type, as in Python, with kombu's tags.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
    ser::{Error as _, SerializeMap as _},
};
use uuid::Uuid;

use crate::{
    serialize::BoxError,
    tagged::{
        datetime::{parse_date, parse_datetime, parse_time, time_with_zone},
        decimal::Number,
        identifier::{NAMES, UuidArguments},
        tag::{self, TYPE, Tagged as _, VALUE},
    },
};

/// A value of any type: the content of a kombu body whose type is not known, with its tags
/// ([`tagged`](crate::tagged)) decoded.
///
/// In JSON, an object with exactly the keys `__type__` and `__value__` is a tagged value, as for
/// kombu. One with an unknown tag is refused with an error that names the tag, and no plain object
/// that would be read as a tagged value can be written. MessagePack has no tags, as for kombu.
///
/// ```
/// use messaging::{Serializers, tagged::Value};
///
/// let body = br#"{"at": {"__type__": "date", "__value__": "2024-01-02"}, "sizes": [1, NaN]}"#;
/// let value: Value = Serializers::new().decode(Some("application/json"), None, body)?;
/// assert!(matches!(value.get("at"), Some(Value::Date(date)) if date.to_string() == "2024-01-02"));
/// # Ok::<(), messaging::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Python's `None`; also `NaN` and the infinities in JSON.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer. In JSON those beyond 64 bits arrive as [`Float`](Self::Float); a `u128` or
    /// `i128` field gets them exactly.
    Integer(i128),
    /// A number with a point, or one that is too large for an integer.
    Float(f64),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
    /// A date and time without a zone.
    DateTime(NaiveDateTime),
    /// A date and time with a zone.
    DateTimeWithZone(DateTime<FixedOffset>),
    /// A date.
    Date(NaiveDate),
    /// A time without a zone.
    Time(NaiveTime),
    /// A time with a zone.
    TimeWithZone(NaiveTime, FixedOffset),
    /// A decimal number in Python's notation, which may be `NaN`, `1E+5` or longer than any type
    /// here.
    Decimal(String),
    /// A UUID.
    Uuid(Uuid),
    /// A list or tuple.
    Array(Vec<Value>),
    /// A dictionary; of duplicate keys the last counts.
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// Returns the string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the value of an object under this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(entries) => entries.get(key),
            _ => None,
        }
    }

    /// Returns the value that kombu has tagged.
    fn from_tag(tag: &str, payload: Value) -> Result<Self, BoxError> {
        let text = match (tag, payload) {
            ("uuid", Value::Object(payload)) => {
                return uuid_arguments(payload)?.uuid().map(Value::Uuid);
            }
            ("decimal", Value::Integer(number)) => number.to_string(),
            ("decimal", Value::Float(number)) => Number::from_float(number)?.0,
            (_, Value::Text(text)) => text,
            _ => return Err(format!("the __value__ of __type__ {tag:?} is not what kombu writes").into()),
        };
        Ok(match tag {
            "datetime" => match parse_datetime(&text)? {
                (datetime, None) => Value::DateTime(datetime),
                _ => Value::DateTimeWithZone(DateTime::from_text(&text)?),
            },
            "date" => Value::Date(parse_date(&text)?),
            "time" => match parse_time(&text)? {
                (time, None) => Value::Time(time),
                (time, Some(zone)) => Value::TimeWithZone(time, zone),
            },
            "decimal" => Value::Decimal(text),
            "bytes" | "base64" => Value::Bytes(Bytes::from_tagged(tag, text)?),
            _ => return Err(format!("the __type__ {tag:?} is unknown").into()),
        })
    }
}

/// Reads the arguments of a UUID's constructor. Its `int` has at most 64 bits here, as
/// [`Value::Integer`] says.
fn uuid_arguments(payload: BTreeMap<String, Value>) -> Result<UuidArguments, BoxError> {
    let mut arguments = UuidArguments::default();
    for (name, value) in payload {
        match (name.as_str(), value) {
            ("is_safe", _) => {}
            (name, Value::Null) if NAMES.contains(&name) => {}
            ("hex", Value::Text(hex)) => arguments.hex = Some(hex),
            ("bytes", Value::Bytes(bytes)) => arguments.bytes = Some(bytes.into()),
            ("bytes_le", Value::Bytes(bytes)) => arguments.bytes_le = Some(bytes.into()),
            ("fields", Value::Array(fields)) => {
                let fields = fields.into_iter().map(|field| match field {
                    Value::Integer(field) => u64::try_from(field).map_err(BoxError::from),
                    _ => Err("a field of a uuid is an integer".into()),
                });
                arguments.fields = Some(fields.collect::<Result<_, _>>()?);
            }
            ("int", Value::Integer(int)) => arguments.int = Some(int.try_into()?),
            ("version", Value::Integer(version)) => arguments.version = Some(version.try_into()?),
            (name, _) => {
                return Err(format!("{name:?} is not an argument of a uuid, or has the wrong type").into());
            }
        }
    }
    Ok(arguments)
}

macro_rules! from {
    ($($type:ty => $variant:ident)*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool
    i32 => Integer
    u32 => Integer
    i64 => Integer
    u64 => Integer
    f64 => Float
    &str => Text
    String => Text
    Bytes => Bytes
    NaiveDateTime => DateTime
    DateTime<FixedOffset> => DateTimeWithZone
    NaiveDate => Date
    NaiveTime => Time
    Uuid => Uuid
    Vec<Value> => Array
    BTreeMap<String, Value> => Object
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => integer(*value, serializer),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => tag::serialize(bytes, serializer),
            Value::DateTime(datetime) => tag::serialize(datetime, serializer),
            Value::DateTimeWithZone(datetime) => tag::serialize(datetime, serializer),
            Value::Date(date) => tag::serialize(date, serializer),
            Value::Time(time) => tag::serialize(time, serializer),
            Value::TimeWithZone(time, zone) => text("time", &time_with_zone(*time, *zone), serializer),
            Value::Decimal(number) => text("decimal", number, serializer),
            Value::Uuid(uuid) => tag::serialize(uuid, serializer),
            Value::Array(items) => serializer.collect_seq(items),
            Value::Object(entries) => {
                if serializer.is_human_readable() && is_tagged(entries) {
                    let what =
                        "an object with the keys __type__ and __value__ would be read as something else";
                    return Err(S::Error::custom(what));
                }
                serializer.collect_map(entries)
            }
        }
    }
}

fn integer<S: Serializer>(value: i128, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(value) = i64::try_from(value) {
        serializer.serialize_i64(value)
    } else if let Ok(value) = u64::try_from(value) {
        serializer.serialize_u64(value)
    } else if serializer.is_human_readable() {
        serializer.serialize_i128(value)
    } else {
        Err(S::Error::custom(format_args!("{value} has over 64 bits")))
    }
}

/// Writes a tag with text, if the format has tags.
fn text<S: Serializer>(tag: &str, payload: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_str(payload);
    }
    let mut tagged = serializer.serialize_map(Some(2))?;
    tagged.serialize_entry(TYPE, tag)?;
    tagged.serialize_entry(VALUE, payload)?;
    tagged.end()
}

fn is_tagged(entries: &BTreeMap<String, Value>) -> bool {
    entries.len() == 2 && entries.contains_key(TYPE) && entries.contains_key(VALUE)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tags = deserializer.is_human_readable();
        deserializer.deserialize_any(Any { tags })
    }
}

struct Any {
    /// Whether this format has tags.
    tags: bool,
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(i128::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    // No memory is reserved for the length that a body claims.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            object.insert(key, value);
        }
        if !(self.tags && is_tagged(&object)) {
            return Ok(Value::Object(object));
        }
        match (object.remove(TYPE), object.remove(VALUE)) {
            (Some(Value::Text(tag)), Some(payload)) => {
                Value::from_tag(&tag, payload).map_err(A::Error::custom)
            }
            _ => Err(A::Error::custom("the __type__ is not a string")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialize::Serializers;

    fn read(body: &str) -> Result<Value, String> {
        let read = Serializers::new().decode(Some("application/json"), None, body.as_bytes());
        read.map_err(|error| amqp_client::Report(&error).to_string())
    }

    fn tagged(tag: &str, payload: &str) -> String {
        format!(r#"{{"__type__":"{tag}","__value__":{payload}}}"#)
    }

    #[test]
    fn every_tag_of_kombus_is_read_and_written_the_same() {
        for (tag, payload) in [
            ("datetime", r#""2024-01-02T03:04:05.678901""#),
            ("datetime", r#""2024-01-02T03:04:05+05:53:28""#),
            ("date", r#""2024-01-02""#),
            ("time", r#""03:04:05.000006""#),
            ("time", r#""03:04:05-03:30""#),
            ("decimal", r#""1.50""#),
            ("decimal", r#""-Infinity""#),
            ("uuid", r#"{"hex":"12345678123456781234567812345678"}"#),
            ("bytes", r#""abc""#),
            ("base64", r#""/wA=""#),
        ] {
            let body = tagged(tag, payload);
            let value = read(&body).unwrap();
            assert!(!matches!(value, Value::Object(_)), "{body}");
            assert_eq!(serde_json::to_string(&value).unwrap(), body);
            let other_way = format!(r#"{{"__value__":{payload},"__type__":"{tag}"}}"#);
            assert_eq!(read(&other_way).unwrap(), value);
            let nested = format!(r#"{{"a":[{body}]}}"#);
            assert_eq!(serde_json::to_string(&read(&nested).unwrap()).unwrap(), nested);
        }
    }

    #[test]
    fn whatever_pythons_constructors_take_is_read() {
        let uuid = Value::Uuid(Uuid::from_u128(5));
        for (tag, payload, expected) in [
            ("uuid", r#"{"hex":"00000000-0000-0000-0000-000000000005","version":null,"is_safe":1}"#, &uuid),
            ("uuid", r#"{"int":5}"#, &uuid),
            ("uuid", r#"{"fields":[0,0,0,0,0,5]}"#, &uuid),
            ("uuid", r#"{"bytes":{"__type__":"base64","__value__":"AAAAAAAAAAAAAAAAAAAABQ=="}}"#, &uuid),
            ("decimal", "5", &Value::Decimal("5".into())),
            ("decimal", "-0.5", &Value::Decimal("-0.5".into())),
        ] {
            assert_eq!(read(&tagged(tag, payload)).as_ref(), Ok(expected), "{tag} {payload}");
        }
    }

    #[test]
    fn an_unknown_tag_is_named_and_what_is_wrong_under_a_known_one_too() {
        assert!(
            read(&tagged("complex", "\"1+2j\"")).unwrap_err().contains("__type__ \"complex\" is unknown")
        );
        for (tag, payload) in [
            ("date", "5"),
            ("date", "\"x\""),
            ("uuid", "\"x\""),
            ("uuid", "{\"int\":\"5\"}"),
            ("uuid", "{\"hex\":5}"),
            ("uuid", "{\"fields\":[0.5,0,0,0,0,5]}"),
            ("uuid", "{\"int\":5,\"variant\":null}"),
            ("decimal", "[1]"),
            ("base64", "\"A\""),
            ("complex", "{}"),
        ] {
            assert!(read(&tagged(tag, payload)).is_err(), "{tag} {payload}");
        }
        assert!(read(r#"{"__type__":5,"__value__":5}"#).is_err());
    }

    #[test]
    fn only_both_keys_and_nothing_else_are_a_tag_and_none_is_written_by_mistake() {
        for body in [r#"{"__type__":"date"}"#, r#"{"__type__":"date","__value__":"x","more":1}"#] {
            let value = read(body).unwrap();
            assert!(matches!(value, Value::Object(_)));
            let Value::Object(mut entries) = value else { return };
            entries.remove("more");
            entries.insert(VALUE.into(), "2024-01-02".into());
            assert!(serde_json::to_string(&Value::Object(entries)).is_err());
        }
    }

    #[test]
    fn what_python_writes_beyond_json_and_beyond_64_bits_is_read() {
        let value = read(
            "[NaN, 18446744073709551615, -9223372036854775808, 1208925819614629174706176, 1.5, \"\\ud800\"]",
        )
        .unwrap();
        let Value::Array(items) = value else { panic!("no list") };
        let expected: Vec<Value> = vec![
            Value::Null,
            u64::MAX.into(),
            i64::MIN.into(),
            (2_f64.powi(80)).into(),
            1.5.into(),
            "\u{fffd}".into(),
        ];
        assert_eq!(items, expected);
        assert_eq!(serde_json::to_string(&Value::Integer(1 << 80)).unwrap(), "1208925819614629174706176");
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn message_pack_has_bytes_and_no_tags() {
        let all = Serializers::new();
        let entries = [("__type__", Value::from("date")), ("__value__", Value::from("x"))];
        let object = Value::Object(entries.map(|(key, value)| (key.to_owned(), value)).into());
        let uuid = Uuid::from_u128(5);
        let value =
            Value::Array(vec![object.clone(), Bytes::from_static(b"\xff").into(), uuid.into(), 7.into()]);
        let body = all.encode("msgpack", &value).unwrap().body;
        let read: Value = all.decode(Some("application/x-msgpack"), None, &body).unwrap();
        let expected =
            vec![object, Bytes::from_static(b"\xff").into(), uuid.to_string().as_str().into(), 7.into()];
        assert_eq!(read, Value::Array(expected));
        assert!(all.encode("msgpack", &Value::Integer(1 << 80)).is_err());
    }
}
