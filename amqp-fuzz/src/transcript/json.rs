//! Items as JSON.
//!
//! | item | its object |
//! |---|---|
//! | a method | `{"channel": 1, "method": "basic.ack", "arguments": {"delivery_tag": 7}}` |
//! | a content header | `{"channel": 1, "header": {"class_id": 60, "body_size": 5, "properties": {}}}` |
//! | a part of a body | `{"channel": 1, "body": "hello"}` |
//! | a heartbeat | `{"channel": 0, "heartbeat": true}` |
//! | a frame of which something is wrong | `{"channel": 1, "raw": {"type": 9, "size": 1, "end": 0, "payload": {"hex": "ff"}}}` |
//! | octets | `{"octets": {"hex": "414d5150"}}` |
//!
//! Text is a string, and bytes that are no text are `{"hex": "..."}`. A table is a list of entries
//! with their types, because names may occur twice: `[{"name": "x-max-length", "type": "I",
//! "value": 5}]`. Arguments that are zero or empty are left out.

use amqp_codec::{
    Array, ContentHeader, EncodedProperties, Field, FieldKind, Frame, MethodId, Properties, ShortString,
    Table, Value as Entry,
};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    item::Item,
    secret::{REDACTED, is_secret, may_hold, odd_octets},
    write::{BASIC, named, rebuilt},
};
use crate::{
    arguments::{
        argument::{self, Argument, Found},
        properties,
    },
    wire_frame::WireFrame,
};

/// How deep tables are read: as deep as the codec's may nest.
const MOST_NESTED: usize = 32;

/// Why a JSON value is no item: what is missing or of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing in the JSON of a frame, or is not what it should be")]
pub struct JsonError(&'static str);

impl Item {
    /// The item as JSON. What is secret is `[redacted]`, unless `shows_secrets`.
    ///
    /// ```
    /// use amqp_fuzz::read_line;
    ///
    /// let item = read_line("1 basic.ack delivery_tag=7")?;
    /// let json = r#"{"arguments":{"delivery_tag":7},"channel":1,"method":"basic.ack"}"#;
    /// assert_eq!(item.to_json(false).to_string(), json);
    /// # Ok::<(), amqp_fuzz::TranscriptError>(())
    /// ```
    pub fn to_json(&self, shows_secrets: bool) -> Value {
        let is_hidden = !shows_secrets && odd_octets(self).is_some_and(may_hold);
        let octets = |octets: &[u8]| if is_hidden { json!(REDACTED) } else { hex(octets) };
        match self {
            Item::Octets(bytes) => json!({ "octets": octets(bytes) }),
            Item::Wire(WireFrame { kind, channel, size, payload, end }) => {
                let raw = json!({ "type": kind, "size": size, "end": end, "payload": octets(payload) });
                json!({ "channel": channel, "raw": raw })
            }
            Item::Frame(Frame::Heartbeat(channel)) => json!({ "channel": channel, "heartbeat": true }),
            Item::Frame(Frame::Body(channel, body)) => json!({ "channel": channel, "body": text(body) }),
            Item::Frame(frame @ Frame::Method(channel, method)) => {
                let found = argument::read(&WireFrame::of(frame).payload);
                let (id, found) = found.unwrap_or((method.id(), Vec::new()));
                let mut arguments = Map::new();
                for Found { field, value, .. } in found.iter().filter(|found| !found.value.is_default()) {
                    let is_hidden = !shows_secrets && is_secret(id, field.name);
                    let value = if is_hidden { json!(REDACTED) } else { of_argument(value) };
                    arguments.insert(field.name.to_owned(), value);
                }
                json!({ "channel": channel, "method": method.name(), "arguments": arguments })
            }
            Item::Frame(Frame::Header(channel, header)) => {
                json!({ "channel": channel, "header": of_header(header) })
            }
        }
    }

    /// Reads an item as [`to_json`](Item::to_json) writes it.
    ///
    /// # Errors
    /// What is missing, or of another type.
    pub fn from_json(json: &Value) -> Result<Item, JsonError> {
        if let Some(octets) = json.get("octets") {
            return bytes(octets, "octets").map(Item::Octets);
        }
        let channel = number(json, "channel")?;
        if let Some(name) = json.get("method") {
            let id = MethodId::ALL.iter().find(|id| id.name() == name.as_str());
            let id = id.ok_or(JsonError("the method's name"))?;
            let fields = id.fields().unwrap_or_default();
            let arguments = json.get("arguments").map_or(Ok(Vec::new()), |it| arguments(it, fields))?;
            let method = argument::method(*id, &arguments).ok_or(JsonError("an argument of its size"))?;
            return Ok(Frame::Method(channel, method).into());
        }
        if let Some(header) = json.get("header") {
            return Ok(Frame::Header(channel, to_header(header)?).into());
        }
        if let Some(body) = json.get("body") {
            return Ok(Frame::Body(channel, bytes(body, "body")?).into());
        }
        if let Some(raw) = json.get("raw") {
            let payload = bytes(raw.get("payload").unwrap_or(&Value::Null), "payload")?;
            let (kind, size, end) = (number(raw, "type")?, number(raw, "size")?, number(raw, "end")?);
            return Ok(Item::Wire(WireFrame { kind, channel, size, payload, end }));
        }
        match json.get("heartbeat") {
            Some(Value::Bool(true)) => Ok(Frame::Heartbeat(channel).into()),
            _ => Err(JsonError("method, header, body, heartbeat or raw")),
        }
    }
}

fn of_header(header: &ContentHeader) -> Value {
    let encoded = header.properties.as_encoded();
    let properties = match named(encoded) {
        Some(found) => {
            let named = found.iter().map(|found| (found.field.name.to_owned(), of_argument(&found.value)));
            Value::Object(named.collect())
        }
        None => hex(encoded),
    };
    json!({ "class_id": header.class_id, "body_size": header.body_size, "properties": properties })
}

fn to_header(json: &Value) -> Result<ContentHeader, JsonError> {
    let class_id = if json.get("class_id").is_some() { number(json, "class_id")? } else { BASIC };
    let properties = match json.get("properties") {
        None => EncodedProperties::NONE,
        Some(it) if it.get("hex").is_some() => EncodedProperties::from_encoded(bytes(it, "properties")?),
        Some(it) => {
            let list = arguments(it, Properties::FIELDS)?;
            properties::encode(&list).ok_or(JsonError("a property of its size"))?
        }
    };
    Ok(ContentHeader { class_id, body_size: number(json, "body_size")?, properties })
}

fn of_argument(argument: &Argument) -> Value {
    match argument {
        Argument::Bit(bit) => json!(bit),
        Argument::Number(number) => json!(number),
        Argument::ShortString(it) => text(it.as_bytes()),
        Argument::LongString(it) => text(it),
        Argument::Table(table) => of_table(table),
    }
}

fn arguments(json: &Value, fields: &'static [Field]) -> Result<Vec<(&'static str, Argument)>, JsonError> {
    let object = json.as_object().ok_or(JsonError("an object of arguments"))?;
    let named = object.iter().map(|(name, value)| {
        let field = fields.iter().find(|field| field.name == name).ok_or(JsonError("an argument's name"))?;
        Ok((field.name, to_argument(value, *field)?))
    });
    named.collect()
}

fn to_argument(json: &Value, field: Field) -> Result<Argument, JsonError> {
    Ok(match field.kind {
        FieldKind::Bit => Argument::Bit(json.as_bool().ok_or(JsonError(field.name))?),
        FieldKind::Octet | FieldKind::Short | FieldKind::Long | FieldKind::LongLong => {
            Argument::Number(json.as_u64().ok_or(JsonError(field.name))?)
        }
        FieldKind::ShortString => {
            let text = ShortString::from_bytes(field.name, bytes(json, field.name)?);
            Argument::ShortString(text.map_err(|_| JsonError(field.name))?)
        }
        FieldKind::LongString => Argument::LongString(bytes(json, field.name)?),
        FieldKind::Table => Argument::Table(to_table(json, 1)?),
    })
}

/// A list of entries; the table's bytes if it would not be the same when it is made of them.
fn of_table(table: &Table) -> Value {
    if rebuilt(table).as_ref() != Some(table) {
        return hex(table.as_encoded());
    }
    let named = table.iter().map(|(name, entry)| {
        let mut json = of_entry(&entry);
        if let Some(object) = json.as_object_mut() {
            object.insert("name".to_owned(), text(name.as_bytes()));
        }
        json
    });
    Value::Array(named.collect())
}

fn to_table(json: &Value, depth: usize) -> Result<Table, JsonError> {
    const WHAT: JsonError = JsonError("a table's list of entries");
    if json.get("hex").is_some() {
        return Table::from_encoded(bytes(json, "hex")?).map_err(|_| WHAT);
    }
    let mut table = Table::new();
    for entry in json.as_array().ok_or(WHAT)? {
        let name = entry.get("name").and_then(Value::as_str).ok_or(JsonError("an entry's name"))?;
        table.push(name, to_entry(entry, depth)?).map_err(|_| WHAT)?;
    }
    Ok(table)
}

/// A value with its type's letter on the wire.
fn of_entry(entry: &Entry) -> Value {
    let (letter, value) = match entry {
        Entry::Bool(bit) => ("t", json!(bit)),
        Entry::I8(number) => ("b", json!(number)),
        Entry::U8(number) => ("B", json!(number)),
        Entry::I16(number) => ("s", json!(number)),
        Entry::U16(number) => ("u", json!(number)),
        Entry::I32(number) => ("I", json!(number)),
        Entry::U32(number) => ("i", json!(number)),
        Entry::I64(number) => ("l", json!(number)),
        // JSON has no number for all of them, and no way back to the same bits.
        Entry::F32(number) => ("f", json!({ "bits": number.to_bits(), "about": number.to_string() })),
        Entry::F64(number) => ("d", json!({ "bits": number.to_bits(), "about": number.to_string() })),
        Entry::Decimal { scale, value } => ("D", json!({ "scale": scale, "value": value })),
        Entry::LongString(it) => ("S", text(it.as_bytes())),
        Entry::Array(array) => ("A", Value::Array(array.iter().map(|entry| of_entry(&entry)).collect())),
        Entry::Timestamp(seconds) => ("T", json!(seconds)),
        Entry::Table(table) => ("F", of_table(table)),
        Entry::Bytes(bytes) => ("x", hex(bytes)),
        Entry::Void => ("V", Value::Null),
    };
    json!({ "type": letter, "value": value })
}

fn to_entry(json: &Value, depth: usize) -> Result<Entry, JsonError> {
    const WHAT: JsonError = JsonError("an entry's value");
    let letter = json.get("type").and_then(Value::as_str).ok_or(JsonError("an entry's type"))?;
    let value = json.get("value").unwrap_or(&Value::Null);
    if depth > MOST_NESTED {
        return Err(JsonError("a table that is nested less"));
    }
    Ok(match letter {
        "t" => Entry::Bool(value.as_bool().ok_or(WHAT)?),
        "b" => Entry::I8(whole(value)?),
        "B" => Entry::U8(whole(value)?),
        "s" => Entry::I16(whole(value)?),
        "u" => Entry::U16(whole(value)?),
        "I" => Entry::I32(whole(value)?),
        "i" => Entry::U32(whole(value)?),
        "l" => Entry::I64(value.as_i64().ok_or(WHAT)?),
        "f" => match value.get("bits") {
            Some(bits) => Entry::F32(f32::from_bits(whole(bits)?)),
            None => Entry::F32(value.as_f64().ok_or(WHAT)? as f32),
        },
        "d" => match value.get("bits").map(Value::as_u64) {
            Some(bits) => Entry::F64(f64::from_bits(bits.ok_or(WHAT)?)),
            None => Entry::F64(value.as_f64().ok_or(WHAT)?),
        },
        "D" => {
            let part = |name| value.get(name).ok_or(WHAT);
            Entry::Decimal { scale: whole(part("scale")?)?, value: whole(part("value")?)? }
        }
        "S" => Entry::LongString(bytes(value, "an entry's text")?.into()),
        "A" => {
            let mut array = Array::new();
            for entry in value.as_array().ok_or(WHAT)? {
                array.push(to_entry(entry, depth + 1)?).map_err(|_| WHAT)?;
            }
            Entry::Array(array)
        }
        "T" => Entry::Timestamp(value.as_u64().ok_or(WHAT)?),
        "F" => Entry::Table(to_table(value, depth + 1)?),
        "x" => Entry::Bytes(bytes(value, "an entry's bytes")?),
        "V" => Entry::Void,
        _ => return Err(JsonError("an entry's type")),
    })
}

fn whole<T: TryFrom<i64>>(json: &Value) -> Result<T, JsonError> {
    let number = json.as_i64().and_then(|number| T::try_from(number).ok());
    number.ok_or(JsonError("a number of its type"))
}

fn number<T: TryFrom<u64>>(json: &Value, name: &'static str) -> Result<T, JsonError> {
    let number = json.get(name).and_then(Value::as_u64).and_then(|number| T::try_from(number).ok());
    number.ok_or(JsonError(name))
}

/// Text as a string, other bytes in hexadecimal digits.
fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), |text| json!(text))
}

fn hex(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|octet| format!("{octet:02x}")).collect();
    json!({ "hex": digits })
}

fn bytes(json: &Value, what: &'static str) -> Result<Bytes, JsonError> {
    if let Some(text) = json.as_str() {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let digits = json.get("hex").and_then(Value::as_str).ok_or(JsonError(what))?;
    let octets = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    octets.collect::<Option<Vec<_>>>().map(Bytes::from).ok_or(JsonError(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Choices, read_line};

    proptest! {
        #[test]
        fn a_frame_is_read_back_as_it_was_written(seed: u64) {
            let frame: Option<Frame> = Choices::from_seed(seed).arbitrary(400);
            prop_assume!(frame.is_some());
            let item = Item::from(WireFrame::of(&frame.unwrap()));
            let text = item.to_json(true).to_string();
            let json: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Item::from_json(&json), Ok(item), "{}", text);
        }

        #[test]
        fn an_odd_frame_is_read_back_too(kind: u8, channel: u16, size: u32, end: u8, payload: Vec<u8>) {
            let item = Item::from(WireFrame { kind, channel, size, end, payload: payload.into() });
            prop_assert_eq!(Item::from_json(&item.to_json(true)), Ok(item));
        }
    }

    #[test]
    fn what_is_no_frame_says_what_is_missing() {
        for (json, what) in [
            (json!({}), "channel"),
            (json!({ "channel": 70_000, "heartbeat": true }), "channel"),
            (json!({ "channel": 1, "method": "basic.pray" }), "the method's name"),
            (
                json!({ "channel": 1, "method": "basic.ack", "arguments": { "delivery_tag": -1 } }),
                "delivery_tag",
            ),
            (json!({ "channel": 1 }), "method, header, body, heartbeat or raw"),
            (json!({ "octets": { "hex": "4" } }), "octets"),
        ] {
            assert_eq!(Item::from_json(&json), Err(JsonError(what)), "{json}");
        }
    }

    #[test]
    fn a_login_is_redacted() {
        let item = read_line(r#"0 connection.start-ok response="\0guest\0hunter2""#).unwrap();
        assert!(!item.to_json(false).to_string().contains("hunter2"));
        assert!(item.to_json(true).to_string().contains("hunter2"));
    }
}
