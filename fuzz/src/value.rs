use messaging::{Serializers, tagged::Value};

/// Reads a body of any type, with kombu's tags. What was read as JSON or MessagePack can be written
/// and read again the same, or is refused because it would be read as something else.
pub fn value(data: &[u8]) {
    let all = Serializers::new();
    for (name, content_type) in [("json", "application/json"), ("msgpack", "application/x-msgpack")] {
        let Ok(value) = all.decode::<Value>(Some(content_type), None, data) else { continue };
        let Ok(written) = all.encode(name, &value) else { continue };
        let again: Value =
            all.decode(Some(content_type), None, &written.body).expect("what was written is read");
        assert_eq!(without_floats(again), without_floats(value), "as {name}");
    }
}

/// Floats are replaced, because one may come back with another last digit, and a NaN does not equal
/// itself.
fn without_floats(value: Value) -> Value {
    match value {
        Value::Float(_) => Value::Null,
        Value::Array(values) => Value::Array(values.into_iter().map(without_floats).collect()),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, without_floats(value))).collect())
        }
        other => other,
    }
}
