//! Values of AMQP tables as JSON, and back.

use amqp_client::{Array, Table, Value};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Number, Value as Json};

/// The value as JSON. Octets that are not UTF-8 become `{"base64": …}`, a decimal its text, a
/// timestamp its seconds; floats that JSON does not have become null.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(bool) => Json::Bool(*bool),
        Value::F32(float) => number(f64::from(*float)),
        Value::F64(float) => number(*float),
        Value::Decimal { scale, value } => Json::String(decimal(*scale, *value)),
        Value::LongString(text) => octets(text.as_bytes()),
        Value::Bytes(bytes) => octets(bytes),
        Value::Array(array) => Json::Array(array.iter().map(|value| to_json(&value)).collect()),
        Value::Timestamp(seconds) => Json::from(*seconds),
        Value::Table(table) => Json::Object(table_to_json(table)),
        Value::Void => Json::Null,
        integer => integer.as_i64().map_or(Json::Null, Json::from),
    }
}

/// A table as an object. Of entries with the same key the last one counts.
pub(crate) fn table_to_json(table: &Table) -> Map<String, Json> {
    table.iter().map(|(key, value)| (key.to_text().into_owned(), to_json(&value))).collect()
}

/// JSON as a value: integers as 64-bit ones, objects as tables.
///
/// # Errors
/// A key over 255 octets, or nesting that is too deep; in words.
pub(crate) fn from_json(json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Void,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::I64(integer),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::LongString(text.as_str().into()),
        Json::Array(items) => {
            let mut array = Array::default();
            for item in items {
                array.push(from_json(item)?).map_err(|error| error.to_string())?;
            }
            Value::Array(array)
        }
        Json::Object(entries) => {
            let mut table = Table::default();
            for (key, item) in entries {
                table.insert(key, from_json(item)?).map_err(|error| error.to_string())?;
            }
            Value::Table(table)
        }
    })
}

fn number(float: f64) -> Json {
    Number::from_f64(float).map_or(Json::Null, Json::Number)
}

/// Text as a string, other octets as `{"base64": …}`.
pub(crate) fn octets(octets: &[u8]) -> Json {
    match std::str::from_utf8(octets) {
        Ok(text) => Json::String(text.to_owned()),
        Err(_) => {
            Json::Object(Map::from_iter([("base64".to_owned(), BASE64_STANDARD.encode(octets).into())]))
        }
    }
}

fn decimal(scale: u8, value: i32) -> String {
    let (sign, digits) = (if value < 0 { "-" } else { "" }, value.unsigned_abs().to_string());
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_json_that_a_reader_expects() {
        let mut table = Table::default();
        table.insert("n", Value::U8(7)).unwrap();
        for (value, json) in [
            (Value::I64(-5), "-5"),
            (Value::F32(f32::NAN), "null"),
            (Value::Decimal { scale: 2, value: -5 }, r#""-0.05""#),
            (Value::Decimal { scale: 0, value: 5 }, r#""5""#),
            (Value::Bytes(vec![255].into()), r#"{"base64":"/w=="}"#),
            (Value::Table(table), r#"{"n":7}"#),
        ] {
            assert_eq!(to_json(&value).to_string(), json);
        }
    }

    #[test]
    fn json_becomes_a_value_and_json_again() {
        let json: Json = serde_json::from_str(r#"{"a":[1,2.5,"x",null,true,{"b":-1}]}"#).unwrap();
        assert_eq!(to_json(&from_json(&json).unwrap()), json);
    }
}
