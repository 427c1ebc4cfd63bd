//! A recorded message as one line of JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amqp_codec::EncodedProperties;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use xxhash_rust::xxh3::Xxh3;

use crate::message::view::MessageView;

/// The name of the format in the first line of a file.
const FORMAT: &str = "amqp-record";
const VERSION: u32 = 1;

/// The first line of a file.
#[derive(Debug, Deserialize, Serialize)]
struct Heading {
    format: String,
    version: u32,
}

/// A recorded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When it arrived, in microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) properties: EncodedProperties,
    pub(crate) body: Bytes,
}

/// A recorded message as JSON. `properties` is for readers; `properties_base64` is what counts.
#[derive(Debug, Deserialize, Serialize)]
struct Shape {
    at: u64,
    exchange: String,
    routing_key: String,
    properties_base64: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The XXH3 of all that counts, in hexadecimal digits.
    check: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    properties: Map<String, Json>,
}

/// The first line of a file, with its end.
pub(crate) fn heading() -> String {
    let heading = Heading { format: FORMAT.to_owned(), version: VERSION };
    format!("{}\n", serde_json::to_string(&heading).unwrap_or_default())
}

/// Checks the first line of a file.
///
/// # Errors
/// In words, when it is another format, or another version of this one.
pub(crate) fn check_heading(line: &str) -> Result<(), String> {
    let unknown = "the first line does not name the format amqp-record";
    let heading: Heading = serde_json::from_str(line).map_err(|_| unknown.to_owned())?;
    match (heading.format.as_str(), heading.version) {
        (FORMAT, VERSION) => Ok(()),
        (FORMAT, version) => {
            Err(format!("it has version {version} of the format; this program reads {VERSION}"))
        }
        _ => Err(unknown.to_owned()),
    }
}

impl Record {
    /// The record of a message that arrives now.
    pub(crate) fn now(message: &MessageView) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Record {
            at: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            properties: message.encoded.clone(),
            body: message.body.clone(),
        }
    }

    /// The record as a line, with its end; `properties` are shown in it for readers.
    pub(crate) fn to_line(&self, properties: Map<String, Json>) -> String {
        let text = std::str::from_utf8(&self.body).ok();
        let shape = Shape {
            at: self.at,
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            properties_base64: BASE64_STANDARD.encode(self.properties.as_encoded()),
            body: text.map(str::to_owned),
            body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&self.body)),
            check: self.check(),
            properties,
        };
        format!("{}\n", crate::output::json::line(&shape))
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    /// In words, when it is damaged.
    pub(crate) fn from_line(line: &str) -> Result<Self, String> {
        let shape: Shape = serde_json::from_str(line).map_err(|error| format!("damaged record: {error}"))?;
        let octets = |text: &str| {
            let decoded = BASE64_STANDARD.decode(text).map(Bytes::from);
            decoded.map_err(|error| format!("damaged record: {error}"))
        };
        let body = match (shape.body, shape.body_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => octets(&text)?,
            _ => return Err("damaged record: it has either body or body_base64".to_owned()),
        };
        let record = Record {
            at: shape.at,
            exchange: shape.exchange,
            routing_key: shape.routing_key,
            properties: EncodedProperties::from_encoded(octets(&shape.properties_base64)?),
            body,
        };
        match record.check() == shape.check {
            true => Ok(record),
            false => Err("damaged record: the checksum does not match".to_owned()),
        }
    }

    fn check(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.at.to_le_bytes());
        let parts =
            [self.exchange.as_bytes(), self.routing_key.as_bytes(), self.properties.as_encoded(), &self.body];
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        format!("{:016x}", hash.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &'static [u8]) -> Record {
        Record {
            at: 1,
            exchange: "e\u{1b}".to_owned(),
            routing_key: "k".to_owned(),
            properties: EncodedProperties::from_encoded(Bytes::from_static(&[0x10, 0, 2])),
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn a_line_becomes_the_same_record() {
        for body in [&b"text\n\x1b"[..], b"\xff\0", b""] {
            let line = record(body).to_line(Map::new());
            assert_eq!(line.matches('\n').count(), 1);
            assert!(!line.contains('\u{1b}'));
            assert_eq!(Record::from_line(line.trim_end()), Ok(record(body)));
        }
    }

    #[test]
    fn any_change_of_what_counts_is_found() {
        let line = record(b"text").to_line(Map::new());
        for (from, to) in [("text", "tixt"), ("\"k\"", "\"l\""), ("EAAC", "EAAB"), ("\"at\":1", "\"at\":2")] {
            assert!(line.contains(from), "{line}");
            let why = Record::from_line(&line.replace(from, to)).unwrap_err();
            assert_eq!(why, "damaged record: the checksum does not match");
        }
        for end in 0..line.len() - 1 {
            assert!(Record::from_line(&line[..end]).is_err());
        }
    }

    #[test]
    fn other_formats_and_versions_are_told_apart() {
        assert_eq!(check_heading(heading().trim_end()), Ok(()));
        let later = check_heading(r#"{"format":"amqp-record","version":2}"#).unwrap_err();
        assert_eq!(later, "it has version 2 of the format; this program reads 1");
        for other in ["", "{}", r#"{"format":"x","version":1}"#] {
            assert!(check_heading(other).unwrap_err().ends_with("the format amqp-record"));
        }
    }
}
