use messaging::{Serializers, Value};

/// A body of any type, tags of kombu's among it: what was read as JSON or MessagePack is written
/// and read again the same, or not written because it would be read as something else.
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

/// A float may come back with another last digit, and what is no number is not equal to itself.
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
