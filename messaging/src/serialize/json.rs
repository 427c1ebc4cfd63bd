//! JSON, encoded and decoded.
//!
//! It encodes strict JSON. It also decodes what Python's `json` writes: `NaN`, `Infinity` and
//! `-Infinity` are read as null, lone surrogates (`"\ud800"`) as U+FFFD. Integers of any size are
//! kept as they are until a type is requested.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, de::Deserialize};

use super::serializer::{BoxError, ReadValue, Serializer};

/// The only content type of messages that oslo.messaging accepts.
pub(crate) const CONTENT_TYPE: &str = "application/json";
pub(crate) const CONTENT_ENCODING: &str = "utf-8";

/// `json`: encodes strict JSON and also decodes Python's; the text is UTF-8 whatever the content
/// encoding says, as for kombu.
pub(super) struct Json;

impl Serializer for Json {
    fn name(&self) -> &str {
        "json"
    }

    fn content_type(&self) -> &str {
        CONTENT_TYPE
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError> {
        Ok(to_json(value)?)
    }

    fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError> {
        let text = str::from_utf8(body)?;
        let mut parse = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))?;
            Ok(json.end()?)
        };
        parse(text).or_else(|error| match strict(text) {
            Cow::Owned(strict) => parse(&strict),
            Cow::Borrowed(_) => Err(error),
        })
    }
}

/// Encodes a value as JSON text.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    let mut text = Vec::with_capacity(128);
    serde_json::to_writer(&mut text, value)?;
    Ok(text.into())
}

/// Decodes a value from JSON bytes, strict or Python's.
pub(crate) fn from_json_slice<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> serde_json::Result<T> {
    match str::from_utf8(bytes) {
        Ok(text) => from_json(text),
        // serde_json's error tells where the bytes are not UTF-8.
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// Decodes a value from JSON text, strict or Python's.
pub(crate) fn from_json<T: for<'de> Deserialize<'de>>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text).or_else(|error| match strict(text) {
        Cow::Owned(strict) => serde_json::from_str(&strict),
        Cow::Borrowed(_) => Err(error),
    })
}

/// Returns the text with Python's extensions of JSON replaced; borrowed when there are none.
pub(crate) fn strict(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    // Everything before this was copied to `out`.
    let mut copied = 0;
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = bytes.get(at) {
        let replacement = match byte {
            b'"' => {
                in_string = !in_string;
                None
            }
            b'\\' if in_string => match escaped_surrogates(&bytes[at..]) {
                Surrogates::Pair => {
                    at += 12;
                    continue;
                }
                Surrogates::Lone => Some(("\\ufffd", 6)),
                // The step covers two bytes, so that an escaped quote does not end the string.
                Surrogates::None => {
                    at += 2;
                    continue;
                }
            },
            b'N' | b'I' | b'-' if !in_string => not_a_number(&bytes[at..]).map(|length| ("null", length)),
            _ => None,
        };
        if let Some((replacement, length)) = replacement {
            out.push_str(text.get(copied..at).unwrap_or_default());
            out.push_str(replacement);
            at += length;
            copied = at;
        } else {
            at += 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Returns the length of a word that Python writes for a float that JSON does not have.
fn not_a_number(bytes: &[u8]) -> Option<usize> {
    ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| bytes.starts_with(word.as_bytes())).map(str::len)
}

enum Surrogates {
    None,
    Pair,
    Lone,
}

/// Classifies the escape at the start of `bytes`.
fn escaped_surrogates(bytes: &[u8]) -> Surrogates {
    match escaped_unit(bytes) {
        Some(0xd800..0xdc00) => match bytes.get(6..).and_then(escaped_unit) {
            Some(0xdc00..0xe000) => Surrogates::Pair,
            _ => Surrogates::Lone,
        },
        Some(0xdc00..0xe000) => Surrogates::Lone,
        _ => Surrogates::None,
    }
}

/// Parses the number in `\uXXXX`.
fn escaped_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn strict_json_is_left_alone() {
        for text in
            [r#"{"a": [1, -2.5e3, "NaN \" \\", "\u00e9\ud83d\ude00", null]}"#, "", "\"", "\"\\", "{\"\\u"]
        {
            assert!(matches!(strict(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_python_writes_beyond_json_is_read() {
        let read = |text: &str| from_json::<Value>(text).unwrap();
        assert_eq!(read("[NaN, Infinity, -Infinity, -1]"), json!([null, null, null, -1]));
        assert_eq!(
            read(r#"["\ud800", "a\udc00b", "\ud800\ud83d\ude00"]"#),
            json!(["\u{fffd}", "a\u{fffd}b", "\u{fffd}😀"])
        );
        assert_eq!(read(r#"{"NaN": "-Infinity", "é": NaN}"#), json!({"NaN": "-Infinity", "é": null}));
    }

    #[test]
    fn integers_beyond_64_bits_reach_a_type_that_holds_them() {
        assert_eq!(from_json::<u128>("1208925819614629174706176").unwrap(), 1 << 80);
    }

    #[test]
    fn what_is_no_json_in_python_either_is_refused() {
        for text in ["", "NaN NaN", "[nan]", "{'a': 1}", "\u{feff}{}", "\"\\ud8\""] {
            assert!(from_json::<Value>(text).is_err(), "{text}");
        }
        assert!(from_json_slice::<Value>(b"\"\xff\"").is_err());
    }

    #[test]
    fn floats_that_json_does_not_have_leave_as_null() {
        assert_eq!(to_json(&[f64::NAN, 1.5]).unwrap(), "[null,1.5]");
    }
}
