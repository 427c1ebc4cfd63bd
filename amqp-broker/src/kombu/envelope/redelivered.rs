//! The marks of a message that was returned to a queue.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    constants::{MASKS, substituted},
    error::EnvelopeError,
    object::{Object, present},
    scalar::Text,
};

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<Object<PropertyParts<'a>>>,
}

#[derive(Deserialize)]
struct PropertyParts<'a> {
    #[serde(borrow)]
    delivery_info: Option<&'a RawValue>,
}

/// An object's values under `redelivered`: there may be several, and readers take the last.
struct Marks<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Marks<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MarksVisitor).map(Marks)
    }
}

struct MarksVisitor;

impl<'de> Visitor<'de> for MarksVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut marks = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            let value = map.next_value()?;
            if name == "redelivered" {
                marks.push(value);
            }
        }
        Ok(marks)
    }
}

/// A change of some bytes.
struct Edit {
    range: Range<usize>,
    text: &'static str,
}

/// Marks an envelope as redelivered, in its headers and its delivery info as kombu does. All other
/// bytes stay as they are.
///
/// # Errors
/// It is no envelope.
pub(crate) fn mark_redelivered(item: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let problem = match edits(item) {
        Err(problem @ EnvelopeError::Json { .. }) => problem,
        edits => return Ok(apply(item, &edits?)),
    };
    match substituted(item, &MASKS) {
        Some(masked) => Ok(apply(item, &edits(&masked)?)),
        None => Err(problem),
    }
}

/// The changes, the first one first.
fn edits(item: &[u8]) -> Result<Vec<Edit>, EnvelopeError> {
    let text = str::from_utf8(item).map_err(|_| EnvelopeError::field("envelope", "is not UTF-8"))?;
    let Object(parts): Object<Parts<'_>> = serde_json::from_str(text)?;
    let Object(properties) = parts.properties.ok_or(EnvelopeError::Missing("properties"))?;
    let mut edits = mark_headers(text, parts.headers)?;
    if let Some(info) = properties.delivery_info {
        edits.extend(mark(text, info)?);
    }
    edits.sort_unstable_by_key(|edit| edit.range.start);
    Ok(edits)
}

fn apply(item: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut edited = Vec::with_capacity(item.len() + 48);
    let mut copied = 0;
    for edit in edits {
        edited.extend_from_slice(&item[copied..edit.range.start]);
        edited.extend_from_slice(edit.text.as_bytes());
        copied = edit.range.end;
    }
    edited.extend_from_slice(&item[copied..]);
    edited
}

/// Where a part of a text is in it.
fn range_of(text: &str, part: &RawValue) -> Range<usize> {
    let start = (part.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.get().len()
}

/// The changes that mark headers. Where there are none it adds them: without, kombu could not
/// return the message to its queue a second time.
fn mark_headers(text: &str, headers: Option<&RawValue>) -> Result<Vec<Edit>, EnvelopeError> {
    match headers {
        None => {
            let start = text.find('{').map_or(0, |brace| brace + 1);
            // The properties are behind it, hence the comma.
            Ok(vec![Edit { range: start..start, text: r#""headers":{"redelivered":true},"# }])
        }
        Some(null) if null.get() == "null" => {
            Ok(vec![Edit { range: range_of(text, null), text: r#"{"redelivered":true}"# }])
        }
        Some(headers) => mark(text, headers),
    }
}

/// The changes that set the mark in an object, where it is not set.
fn mark(text: &str, object: &RawValue) -> Result<Vec<Edit>, EnvelopeError> {
    let Marks(marks) = serde_json::from_str(object.get())?;
    if !marks.is_empty() {
        // The object was read from its own start.
        let start = range_of(text, object).start;
        let at = |value| range_of(object.get(), value);
        let edit = |at: Range<usize>| Edit { range: start + at.start..start + at.end, text: "true" };
        let unset = marks.into_iter().filter(|value| value.get() != "true");
        return Ok(unset.map(|value| edit(at(value))).collect());
    }
    let end = range_of(text, object).end - 1;
    let is_empty = text[..end].trim_end().ends_with('{');
    let text = if is_empty { r#""redelivered":true"# } else { r#","redelivered":true"# };
    Ok(vec![Edit { range: end..end, text }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(item: &str) -> String {
        String::from_utf8(mark_redelivered(item.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn kombus_marks_are_set_and_nothing_else_changes() {
        let item = r#"{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"correlation_id": "c", "delivery_mode": 2, "delivery_info": {"exchange": "demo", "routing_key": "demo"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "2a703c36-c8ed-4365-b69f-a3f64b0fb904"}}"#;
        let expected = r#"{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"redelivered":true}, "properties": {"correlation_id": "c", "delivery_mode": 2, "delivery_info": {"exchange": "demo", "routing_key": "demo","redelivered":true}, "priority": 0, "body_encoding": "base64", "delivery_tag": "2a703c36-c8ed-4365-b69f-a3f64b0fb904"}}"#;
        assert_eq!(marked(item), expected);
        assert_eq!(marked(expected), expected);
    }

    #[test]
    fn odd_forms_are_marked_in_place() {
        for (item, expected) in [
            (r#"{"properties":{}}"#, r#"{"headers":{"redelivered":true},"properties":{}}"#),
            (
                r#" {"headers":null, "properties":{"delivery_info":{ }}}"#,
                r#" {"headers":{"redelivered":true}, "properties":{"delivery_info":{ "redelivered":true}}}"#,
            ),
            (
                r#"{"properties":{"delivery_info":{"redelivered":null}},"headers":{"a":{"b":"}"},"redelivered":false}}"#,
                r#"{"properties":{"delivery_info":{"redelivered":true}},"headers":{"a":{"b":"}"},"redelivered":true}}"#,
            ),
            (
                r#"{"properties":{"delivery_info":null},"é":1e400,"headers":{"x":1 }}"#,
                r#"{"properties":{"delivery_info":null},"é":1e400,"headers":{"x":1 ,"redelivered":true}}"#,
            ),
        ] {
            assert_eq!(marked(item), expected);
        }
    }

    #[test]
    fn what_is_no_envelope_is_not_marked() {
        for item in [
            "",
            "[{}]",
            "{}",
            r#"{"properties":[]}"#,
            r#"{"properties":{"delivery_info":[1]}}"#,
            r#"{"headers":[],"properties":{}}"#,
        ] {
            assert!(mark_redelivered(item.as_bytes()).is_err(), "{item:?}");
        }
        assert!(mark_redelivered(b"{\"properties\":{},\"\xff\":1}").is_err());
    }
}
