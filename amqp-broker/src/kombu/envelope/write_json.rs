//! Writing JSON, header tables among it, to the end of a buffer.

use std::io::Write;

use amqp_codec::{Entries, ValueRef};

use super::{error::NotText, tagged};

/// Appends a string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    push_json(out, text);
}

/// Appends what always has a form in JSON.
fn push_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// Appends a number in its plain form.
pub(super) fn push_integer(out: &mut Vec<u8>, n: i128) {
    // A buffer in memory takes everything.
    let _ = write!(out, "{n}");
}

/// Appends a number; infinities, and what is no number, as Python does.
pub(super) fn push_float(out: &mut Vec<u8>, n: f64) {
    match n {
        _ if n.is_nan() => out.extend_from_slice(b"NaN"),
        f64::INFINITY => out.extend_from_slice(b"Infinity"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        _ => push_json(out, &n),
    }
}

/// Appends an object whose `write` appends the value.
fn push_tagged(out: &mut Vec<u8>, kind: &str, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(br#"{"__type__":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","__value__":"#);
    write(out);
    out.push(b'}');
}

/// Appends bytes as kombu does: as text where they are UTF-8.
fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => push_tagged(out, tagged::BYTES, |out| push_text(out, text)),
        Err(_) => push_tagged(out, tagged::BASE64, |out| {
            out.push(b'"');
            tagged::push_base64(out, bytes);
            out.push(b'"');
        }),
    }
}

/// Appends a table of headers as an object.
pub(super) fn push_table(out: &mut Vec<u8>, entries: Entries<'_>) -> Result<(), NotText> {
    out.push(b'{');
    for (index, (name, value)) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_text(out, str::from_utf8(name).map_err(|_| NotText("name of a header"))?);
        out.push(b':');
        push_value(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

fn push_value(out: &mut Vec<u8>, value: ValueRef<'_>) -> Result<(), NotText> {
    match value {
        ValueRef::Void => out.extend_from_slice(b"null"),
        ValueRef::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
        ValueRef::F32(n) => push_float(out, n.into()),
        ValueRef::F64(n) => push_float(out, n),
        ValueRef::Decimal { scale, value } => {
            push_tagged(out, tagged::DECIMAL, |out| push_text(out, &tagged::decimal_text(scale, value)));
        }
        ValueRef::LongString(text) => match str::from_utf8(text) {
            Ok(text) => push_text(out, text),
            Err(_) => push_bytes(out, text),
        },
        ValueRef::Bytes(bytes) => push_bytes(out, bytes),
        ValueRef::Timestamp(seconds) => push_timestamp(out, seconds),
        ValueRef::Table(entries) => push_table(out, entries)?,
        ValueRef::Array(elements) => {
            out.push(b'[');
            for (index, element) in elements.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_value(out, element)?;
            }
            out.push(b']');
        }
        // What is left are the integers.
        integer => push_integer(out, integer.as_i64().unwrap_or_default().into()),
    }
    Ok(())
}

/// Appends a time as kombu does, or as a number where Python has no date for it.
fn push_timestamp(out: &mut Vec<u8>, seconds: u64) {
    match tagged::datetime(seconds) {
        Some(text) => push_tagged(out, tagged::DATETIME, |out| push_text(out, &text)),
        None => push_integer(out, seconds.into()),
    }
}
