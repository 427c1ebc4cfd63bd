//! Field values as RabbitMQ names, prints and compares them.

use amqp_codec::{Value, ValueRef};

/// The type's name in RabbitMQ's texts.
pub(crate) fn type_name<'a>(value: impl Into<ValueRef<'a>>) -> &'static str {
    match value.into() {
        ValueRef::Bool(_) => "bool",
        ValueRef::I8(_) => "byte",
        ValueRef::U8(_) => "unsignedbyte",
        ValueRef::I16(_) => "short",
        ValueRef::U16(_) => "unsignedshort",
        ValueRef::I32(_) => "signedint",
        ValueRef::U32(_) => "unsignedint",
        ValueRef::I64(_) => "long",
        ValueRef::F32(_) => "float",
        ValueRef::F64(_) => "double",
        ValueRef::Decimal { .. } => "decimal",
        ValueRef::LongString(_) => "longstr",
        ValueRef::Array(_) => "array",
        ValueRef::Timestamp(_) => "timestamp",
        ValueRef::Table(_) => "table",
        ValueRef::Bytes(_) => "binary",
        ValueRef::Void => "void",
    }
}

/// The value as RabbitMQ's texts show it: text unquoted, numbers in digits.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::LongString(text) => text.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::F32(n) => format!("{n:?}"),
        Value::F64(n) => format!("{n:?}"),
        Value::Timestamp(seconds) => seconds.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Void => "undefined".to_owned(),
        other => other.as_i64().map_or_else(|| format!("{other:?}"), |n| n.to_string()),
    }
}

/// Tells whether RabbitMQ takes them for equal: integers and floats by value whatever their width,
/// all others by type and value.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a == b,
        (None, None) => match (as_f64(a), as_f64(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
        _ => false,
    }
}

/// A float, of either width.
pub(crate) fn as_f64(value: &Value) -> Option<f64> {
    match *value {
        Value::F32(n) => Some(n.into()),
        Value::F64(n) => Some(n),
        _ => None,
    }
}

/// Octets as an Erlang binary: `<<0,60,0,99>>`, or `<<"text">>` when all of them can be printed.
pub(crate) fn binary(octets: &[u8]) -> String {
    if !octets.is_empty() && octets.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        return format!("<<{:?}>>", String::from_utf8_lossy(octets));
    }
    digits(octets)
}

/// Octets as an Erlang binary of digits: `<<0,60,0,99>>`.
pub(crate) fn digits(octets: &[u8]) -> String {
    let digits: Vec<_> = octets.iter().map(u8::to_string).collect();
    format!("<<{}>>", digits.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_the_same_by_value_and_nothing_else_is_across_types() {
        assert!(same(&Value::I32(5), &Value::I64(5)));
        assert!(same(&Value::F32(0.5), &Value::F64(0.5)));
        assert!(!same(&Value::I32(5), &Value::from("5")));
        assert!(!same(&Value::I32(1), &Value::Bool(true)));
    }

    #[test]
    fn octets_are_shown_as_erlang_shows_them() {
        assert_eq!(binary(b""), "<<>>");
        assert_eq!(binary(&[0, 60]), "<<0,60>>");
        assert_eq!(binary(b"GET"), "<<\"GET\">>");
    }
}
