//! The envelope of all RPC messages, and of notifications in version 2: a JSON object that contains
//! the message as JSON text in a string.
//!
//! `{"oslo.version": "2.0", "oslo.message": "{\"method\": …}"}`

use std::borrow::Cow;

use amqp_client::{Delivery, Received};
use amqp_codec::borrowed::ContentProperties;
use bytes::Bytes;
use memchr::{memchr2, memchr2_iter};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{
    compress::{self, Budget, Decompressed, room::Taken},
    error::Malformed,
    serialize,
    trace_context::TraceContext,
    version::Version,
};

const VERSION: Version = Version::new(2, 0);
/// The text before the message in an envelope. Python and this library write exactly these bytes.
const HEAD: &str = r#"{"oslo.version": "2.0", "oslo.message": ""#;
const TAIL: &str = r#""}"#;

/// Wraps a message in an envelope.
pub(crate) fn encode<T: Serialize + ?Sized>(message: &T) -> serde_json::Result<Bytes> {
    // serde_json writes a few bytes at a time. Plain memory takes these faster than the escaping.
    let mut json = Vec::with_capacity(512);
    serde_json::to_writer(&mut json, message)?;
    let mut out = Vec::with_capacity(HEAD.len() + json.len() / 4 * 5 + TAIL.len());
    out.extend_from_slice(HEAD.as_bytes());
    escape(&json, &mut out);
    out.extend_from_slice(TAIL.as_bytes());
    Ok(out.into())
}

/// The message of an envelope.
pub(crate) struct Opened {
    /// The message's text, a JSON object.
    pub(crate) text: String,
    /// The trace it belongs to.
    pub(crate) trace: Option<TraceContext>,
    /// The memory reserved from the budget if it came compressed, for as long as it is handled.
    pub(crate) room: Option<Taken>,
}

/// Opens the message of a delivery; waits until the budget has room for it.
pub(crate) async fn open(received: &Received, budget: &Budget) -> Result<Opened, Malformed> {
    let properties = properties(received)?;
    let compression = compress::named_or_none(&properties);
    opened(&properties, budget.decompress(compression, received.body(), compress::DECOMPRESSED_LIMIT).await?)
}

/// Does the same without waiting; `None` when there is no room at the moment.
pub(crate) fn try_open(received: &Received, budget: &Budget) -> Option<Result<Opened, Malformed>> {
    let properties = match properties(received) {
        Ok(properties) => properties,
        Err(reason) => return Some(Err(reason)),
    };
    let compression = compress::named_or_none(&properties);
    let body = budget.try_decompress(compression, received.body(), compress::DECOMPRESSED_LIMIT)?;
    Some(body.and_then(|body| opened(&properties, body)))
}

/// Returns the properties, which say how to read the body, unless the body was withheld.
fn properties(received: &Received) -> Result<ContentProperties<'_>, Malformed> {
    match received.withheld() {
        Some(size) => Err(Malformed::Withheld { size }),
        None => received.content_properties().map_err(Malformed::Properties),
    }
}

fn opened(properties: &ContentProperties<'_>, (body, room): Decompressed<'_>) -> Result<Opened, Malformed> {
    let text = decode(properties.content_type, &body)?;
    Ok(Opened { text, trace: TraceContext::read(properties), room })
}

/// Tells whether the message of a delivery may need room from the budget.
pub(crate) fn is_compressed(delivery: &Delivery) -> bool {
    delivery.content_properties().is_ok_and(|properties| compress::named_or_none(&properties).is_some())
}

/// Returns the message's JSON text, an object: from an envelope, or the body itself when there is
/// none (version 1).
///
/// The rules are oslo.messaging's: the content type is exactly `application/json`, only an object
/// with both keys is an envelope, and its version must be compatible with 2.0.
fn decode(content_type: Option<&[u8]>, body: &[u8]) -> Result<String, Malformed> {
    if content_type != Some(serialize::CONTENT_TYPE.as_bytes()) {
        let content_type = content_type.map(String::from_utf8_lossy);
        return Err(Malformed::ContentType(content_type.map(Cow::into_owned)));
    }
    let body = str::from_utf8(body).map_err(|_| Malformed::from(not_an_object()))?;
    match unwrap(body) {
        Err(Malformed::Json(error)) => match serialize::strict(body) {
            Cow::Owned(strict) => unwrap(&strict),
            Cow::Borrowed(_) => Err(error.into()),
        },
        opened => opened,
    }
}

fn unwrap(body: &str) -> Result<String, Malformed> {
    match unwrap_plain(body) {
        Some(message) => Ok(message),
        None => unwrap_any(body),
    }
}

/// Unwraps an envelope in the common form, with a message that is an object; everything else is
/// left to [`unwrap_any`].
fn unwrap_plain(body: &str) -> Option<String> {
    let message = unescape(body.strip_prefix(HEAD)?.strip_suffix(TAIL)?)?;
    is_object(&message).then_some(message)
}

fn unwrap_any(body: &str) -> Result<String, Malformed> {
    let outer: Outer<'_> = object(body)?;
    let (Some(version), Some(message)) = (outer.version, outer.message) else {
        return Ok(body.to_owned());
    };
    let compatible = serde_json::from_str::<String>(version.get())
        .is_ok_and(|version| version.parse().is_ok_and(|version| VERSION.supports(version)));
    if !compatible {
        return Err(Malformed::EnvelopeVersion(version.get().to_owned()));
    }
    let message: String = serialize::from_json(message.get())?;
    // The rest of it is checked when it is read.
    if is_object(&message) { Ok(message) } else { Err(not_an_object().into()) }
}

/// Parses a JSON object. The check is needed because derived types accept JSON arrays as well.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    if is_object(text) { serde_json::from_str(text) } else { Err(not_an_object()) }
}

fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

fn not_an_object() -> serde_json::Error {
    serde::de::Error::custom("expected a JSON object")
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(rename = "oslo.version", borrow, default, deserialize_with = "present")]
    version: Option<&'a RawValue>,
    #[serde(rename = "oslo.message", borrow, default, deserialize_with = "present")]
    message: Option<&'a RawValue>,
}

/// Returns a value even if it is null, unlike a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Writes JSON as the inside of a JSON string. Only quotes and backslashes need escaping:
/// serde_json's output contains no control characters.
fn escape(json: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    for special in memchr2_iter(b'"', b'\\', json) {
        out.extend_from_slice(&json[copied..special]);
        out.push(b'\\');
        copied = special;
    }
    out.extend_from_slice(&json[copied..]);
}

/// Reverses [`escape`]; `None` if the text contains anything else: another escape, the end of the
/// string, a character that should have been escaped.
fn unescape(mut escaped: &str) -> Option<String> {
    let mut text = String::with_capacity(escaped.len());
    // How many bytes at the start of the next part to skip: they are an escaped character.
    let mut skip = 0;
    while let Some(at) = memchr2(b'"', b'\\', &escaped.as_bytes()[skip..]) {
        let (plain, rest) = escaped.split_at(skip + at);
        text.push_str(plain);
        escaped = rest.strip_prefix('\\').filter(|rest| rest.starts_with(['"', '\\']))?;
        skip = 1;
    }
    text.push_str(escaped);
    text.bytes().all(|byte| byte >= b' ').then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const JSON: Option<&[u8]> = Some(b"application/json");

    #[test]
    fn what_is_wrapped_is_an_envelope_of_json_in_json() {
        let message = json!({"method": "echo", "args": {"s": "é😀\"q\\\n\u{1}"}});
        let body = encode(&message).unwrap();
        let outer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(outer["oslo.version"], "2.0");
        assert_eq!(outer.as_object().unwrap().len(), 2);
        assert_eq!(serde_json::from_str::<Value>(outer["oslo.message"].as_str().unwrap()).unwrap(), message);
        assert_eq!(serde_json::from_str::<Value>(&decode(JSON, &body).unwrap()).unwrap(), message);
    }

    #[test]
    fn a_captured_cast_is_read() {
        let body = br#"{"oslo.version": "2.0", "oslo.message": "{\"method\": \"echo\", \"args\": {\"a\": \"cast\"}, \"version\": \"1.0\", \"_unique_id\": \"0c5bc702c77f4e0f9e44e1cc0017e4c3\", \"_context_user\": \"alice\", \"_context_request_id\": \"req-1\"}"}"#;
        let message: Value = serde_json::from_str(&decode(JSON, body).unwrap()).unwrap();
        assert_eq!(message["method"], "echo");
        assert_eq!(message["_context_user"], "alice");
    }

    #[test]
    fn a_body_without_an_envelope_is_the_message_itself() {
        for body in [
            r#"{"method": "echo"}"#,
            r#"{"oslo.version": "2.0"}"#,
            r#"{"oslo.message": "{}"}"#,
            r#" {"a": NaN} "#,
        ] {
            assert!(decode(JSON, body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn pythons_dialect_is_read_outside_and_inside() {
        for body in [
            r#"{"oslo.version": "2.0", "oslo.message": "{\"args\": {\"x\": NaN}}", "extra": NaN}"#,
            r#"{"oslo.version": "2.0", "oslo.message": "{\"args\": {\"x\": \"\\ud800\"}}"}"#,
            r#"{"oslo.version": "2.0", "oslo.message": "{\"args\": {\"x\": \"é\"}}"}"#,
        ] {
            let inner = decode(JSON, body.as_bytes()).unwrap();
            assert!(serialize::from_json::<Value>(&inner).is_ok(), "{inner}");
        }
    }

    #[test]
    fn envelopes_of_other_versions_are_refused() {
        for version in [r#""2.1""#, r#""2.0.5""#, r#""1.0""#, r#""3.0""#, "2.0", "null", r#""2""#] {
            let body = format!(r#"{{"oslo.version": {version}, "oslo.message": "{{}}"}}"#);
            let refused = decode(JSON, body.as_bytes());
            assert!(matches!(refused, Err(Malformed::EnvelopeVersion(v)) if v == version), "{version}");
        }
    }

    #[test]
    fn other_content_types_are_refused() {
        for content_type in [None, Some("text/plain"), Some("application/json; charset=utf-8"), Some("")] {
            let refused = decode(content_type.map(str::as_bytes), b"{}");
            assert!(matches!(refused, Err(Malformed::ContentType(_))), "{content_type:?}");
        }
    }

    #[test]
    fn the_quick_way_reads_what_the_other_one_does() {
        for message in [
            r#"{\"a\": \"b\"}"#,
            r#"{\"a\": \"\\\"\\\\\"}"#,
            r#"{\"a\": \"\u00e9\\u00e9é\"}"#,
            r#"{}", "more": "{}"#,
            r#"{}\"#,
            "{\t}",
            r"{\t}",
            "[]",
            "",
        ] {
            let body = format!("{HEAD}{message}{TAIL}");
            let (quick, other) = (unwrap_plain(&body), unwrap_any(&body));
            match (&quick, &other) {
                (Some(quick), Ok(other)) => assert_eq!(quick, other),
                (Some(quick), Err(error)) => panic!("{quick} is no message: {error}"),
                (None, _) => {}
            }
        }
        assert!(unwrap_plain(&format!("{HEAD}{{}}{TAIL}")).is_some());
        for plain in [r#"{"a": "b"}"#, r#"{"a": "\\ \"é😀"}"#] {
            let mut escaped = Vec::new();
            escape(plain.as_bytes(), &mut escaped);
            assert_eq!(unescape(str::from_utf8(&escaped).unwrap()).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for body in [
            &b""[..],
            b"[]",
            b"null",
            b"{",
            b"\xef\xbb\xbf{}",
            b"\xff",
            br#"{"oslo.version": "2.0", "oslo.message": {}}"#,
            br#"{"oslo.version": "2.0", "oslo.message": "[]"}"#,
        ] {
            assert!(matches!(decode(JSON, body), Err(Malformed::Json(_))), "{body:?}");
        }
    }
}
