//! Reading a JSON object as a table of headers, which is written in its encoded form at once.

use std::fmt;

use amqp_codec::{Entries, MAX_DEPTH, ShortString, Table, ValueRef};
use bytes::{BufMut, BytesMut};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{error::EnvelopeError, scalar::Text, tagged};

const REDELIVERED: &[u8] = b"\x0bredeliveredt\x01";

/// Reads an envelope's headers. Tells beside them whether kombu's mark of a redelivered message was
/// among them: it is no header of the sender's, and left out.
pub(super) fn read_headers(json: &str) -> Result<(Table, bool), EnvelopeError> {
    let mut headers = Writer { out: BytesMut::new(), redelivered: false, problem: None };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    if let Err(error) = deserializer.deserialize_map(Headers(&mut headers)) {
        let problem = headers.problem.map(|problem| EnvelopeError::field("headers", problem));
        return Err(problem.unwrap_or_else(|| error.into()));
    }
    let table = Table::from_encoded(headers.out.freeze());
    let table = table.map_err(|_| EnvelopeError::field("headers", "nest too deep"))?;
    Ok((table, headers.redelivered))
}

struct Writer {
    out: BytesMut,
    redelivered: bool,
    /// Why the reading ended, where it was not for the JSON.
    problem: Option<&'static str>,
}

impl Writer {
    fn refuse<E: serde::de::Error>(&mut self, problem: &'static str) -> E {
        self.problem = Some(problem);
        E::custom(problem)
    }

    /// Writes type, length and contents.
    fn put_sized(&mut self, tag: u8, bytes: &[u8]) {
        self.out.put_u8(tag);
        self.out.put_u32(bytes.len() as u32);
        self.out.put_slice(bytes);
    }

    /// Writes type, length and what `write` writes.
    fn nested<T, E>(&mut self, tag: u8, write: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.out.put_u8(tag);
        let length_at = self.out.len();
        self.out.put_u32(0);
        let start = self.out.len();
        let written = write(self)?;
        let length = (self.out.len() - start) as u32;
        self.out[length_at..start].copy_from_slice(&length.to_be_bytes());
        Ok(written)
    }

    fn put_name<E: serde::de::Error>(&mut self, name: &str) -> Result<(), E> {
        if name.len() > ShortString::MAX {
            return Err(self.refuse("have a name over 255 bytes"));
        }
        self.out.put_u8(name.len() as u8);
        self.out.put_slice(name.as_bytes());
        Ok(())
    }

    /// Writes the entries of an object; returns their number.
    fn put_entries<'de, A: MapAccess<'de>>(&mut self, mut map: A, depth: u8) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(Text(name)) = map.next_key()? {
            let before = self.out.len();
            self.put_name(&name)?;
            map.next_value_seed(Element { writer: self, depth })?;
            if depth == 1 && self.out[before..] == *REDELIVERED {
                self.out.truncate(before);
                self.redelivered = true;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Writes a table that was written from `start` on again, if it is a value that kombu tags.
    fn untag(&mut self, start: usize) {
        // Type and length precede the entries.
        let written = self.out.split_off(start);
        let entries = Entries::from_encoded(written.get(5..).unwrap_or_default());
        if self.put_untagged(entries).is_none() {
            self.out.truncate(start);
            self.out.unsplit(written);
        }
    }

    fn put_untagged(&mut self, mut entries: Entries<'_>) -> Option<()> {
        let (first, second) = (entries.next()?, entries.next()?);
        let (kind, value) = match (first.0, second.0) {
            (name, other) if name == tagged::TYPE.as_bytes() && other == tagged::VALUE.as_bytes() => {
                (first.1, second.1)
            }
            (other, name) if name == tagged::TYPE.as_bytes() && other == tagged::VALUE.as_bytes() => {
                (second.1, first.1)
            }
            _ => return None,
        };
        match (text(kind)?, value) {
            (tagged::UUID, ValueRef::Table(parts)) => self.put_uuid(parts),
            (kind, value) => self.put_untagged_text(kind, text(value)?),
        }
    }

    fn put_untagged_text(&mut self, kind: &str, value: &str) -> Option<()> {
        match kind {
            tagged::BYTES => self.put_sized(b'x', value.as_bytes()),
            tagged::BASE64 => {
                let bytes = tagged::base64(value)?;
                self.put_sized(b'x', &bytes);
            }
            tagged::DATETIME => match tagged::timestamp(value) {
                Some(seconds) => {
                    self.out.put_u8(b'T');
                    self.out.put_u64(seconds);
                }
                None => self.put_sized(b'S', value.as_bytes()),
            },
            tagged::DECIMAL => match tagged::decimal(value) {
                Some((scale, digits)) => {
                    self.out.put_slice(&[b'D', scale]);
                    self.out.put_i32(digits);
                }
                None => self.put_sized(b'S', value.as_bytes()),
            },
            tagged::FLOAT => {
                let number: f64 = value.parse().ok()?;
                self.out.put_u8(b'd');
                self.out.put_f64(number);
            }
            tagged::DATE | tagged::TIME => self.put_sized(b'S', value.as_bytes()),
            _ => return None,
        }
        Some(())
    }

    fn put_uuid(&mut self, mut parts: Entries<'_>) -> Option<()> {
        let (_, hex) = parts.find(|(name, _)| *name == b"hex")?;
        let id = uuid::Uuid::try_parse(text(hex)?).ok()?;
        self.put_sized(b'S', id.to_string().as_bytes());
        Some(())
    }
}

fn text(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::LongString(text) => str::from_utf8(text).ok(),
        _ => None,
    }
}

/// The object of all headers.
struct Headers<'a>(&'a mut Writer);

impl<'de> Visitor<'de> for Headers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.put_entries(map, 1).map(drop)
    }
}

/// A value in a table or list.
struct Element<'a> {
    writer: &'a mut Writer,
    /// The nesting of that table or list.
    depth: u8,
}

impl Element<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<u8, E> {
        if self.depth >= MAX_DEPTH { Err(self.writer.refuse("nest too deep")) } else { Ok(self.depth + 1) }
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.writer.out.put_u8(b'V');
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.writer.out.put_slice(&[b't', u8::from(value)]);
        Ok(())
    }

    /// Integers are of the smaller type where they fit, as py-amqp sends them.
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        let out = &mut self.writer.out;
        if let Ok(value) = i32::try_from(value) {
            out.put_u8(b'I');
            out.put_i32(value);
        } else {
            out.put_u8(b'l');
            out.put_i64(value);
        }
        Ok(())
    }

    /// What is too large for AMQP's integers becomes a floating-point number.
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.writer.out.put_u8(b'd');
        self.writer.out.put_f64(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.writer.put_sized(b'S', value.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.writer.nested(b'A', |writer| {
            while seq.next_element_seed(Element { writer, depth })?.is_some() {}
            Ok(())
        })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let start = self.writer.out.len();
        let count = self.writer.nested(b'F', |writer| writer.put_entries(map, depth))?;
        if count == 2 {
            self.writer.untag(start);
        }
        Ok(())
    }
}
