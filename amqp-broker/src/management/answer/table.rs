//! Tables of AMQP as JSON, and back.

use amqp_codec::{Array, Entries, Table, Value as Field, ValueRef};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Number, Value};

use super::api_error::ApiError;

/// The depth to which JSON may be nested that becomes a table.
const DEEPEST: usize = 30;

/// A table as an object.
pub(crate) fn table_json(table: &Table) -> Value {
    entries_json(table.entries())
}

/// The entries of a table as an object.
pub(crate) fn entries_json(entries: Entries<'_>) -> Value {
    Value::Object(entries.map(|(name, value)| (lossy(name), value_json(value))).collect())
}

fn value_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Bool(is_set) => Value::Bool(is_set),
        ValueRef::F32(number) => float(f64::from(number)),
        ValueRef::F64(number) => float(number),
        ValueRef::Decimal { scale, value } => float(f64::from(value) / 10f64.powi(scale.into())),
        ValueRef::LongString(text) | ValueRef::Bytes(text) => Value::String(shown_text(text)),
        ValueRef::Array(elements) => Value::Array(elements.map(value_json).collect()),
        ValueRef::Timestamp(seconds) => Value::from(seconds),
        ValueRef::Table(entries) => entries_json(entries),
        ValueRef::Void => Value::from("undefined"),
        integer => integer.as_i64().map_or(Value::Null, Value::from),
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Text, or, as RabbitMQ shows it, what is none.
fn shown_text(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("Not UTF-8, base64 is: {}", BASE64_STANDARD.encode(text)),
    }
}

pub(crate) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// An object as a table.
///
/// # Errors
/// When it is no object, or nested too deep, or a name is too long.
pub(crate) fn table(value: Option<&Value>) -> Result<Table, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(Table::new()),
        // RabbitMQ's own clients write an empty table as an empty list.
        Some(Value::Array(none)) if none.is_empty() => Ok(Table::new()),
        Some(Value::Object(object)) => table_of(object, 0),
        Some(_) => Err(ApiError::bad("arguments are no object")),
    }
}

fn table_of(object: &Map<String, Value>, depth: usize) -> Result<Table, ApiError> {
    if depth > DEEPEST {
        return Err(ApiError::bad("arguments are nested too deep"));
    }
    let mut table = Table::new();
    for (name, value) in object {
        table.insert(name, field(value, depth)?).map_err(|error| ApiError::bad(error.to_string()))?;
    }
    Ok(table)
}

fn field(value: &Value, depth: usize) -> Result<Field, ApiError> {
    if depth > DEEPEST {
        return Err(ApiError::bad("arguments are nested too deep"));
    }
    Ok(match value {
        Value::Null => return Err(ApiError::bad("null_not_allowed")),
        Value::Bool(is_set) => Field::Bool(*is_set),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Field::I64(number),
            None => Field::F64(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Field::LongString(text.as_str().into()),
        Value::Array(values) => {
            let mut array = Array::new();
            for value in values {
                array.push(field(value, depth + 1)?).map_err(|error| ApiError::bad(error.to_string()))?;
            }
            Field::Array(array)
        }
        Value::Object(object) => Field::Table(table_of(object, depth + 1)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_its_json_are_the_same() {
        let json = serde_json::json!({"a": 1, "b": [true, "x"], "c": {"d": 1.5}});
        assert_eq!(table_json(&table(Some(&json)).unwrap()), json);
        assert!(table(Some(&Value::Bool(true))).is_err());
    }

    #[test]
    fn deep_json_is_refused() {
        let deep = (0..100).fold(Value::Null, |inner, _| serde_json::json!({ "a": inner }));
        assert!(table(Some(&deep)).is_err());
    }
}
