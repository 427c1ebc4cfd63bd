//! Frames and values as lines of a transcript: one line a frame, default values left out, secrets
//! redacted.

use std::fmt;

use crate::{
    content::ContentHeader,
    frame::{Frame, RawFrame},
    table::{Array, Table, Value},
    wire::text::ShortString,
};

/// How many bytes of a body are shown.
const SHOWN: usize = 64;

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Method(channel, method) => write!(f, "{channel} {method}"),
            Frame::Header(channel, header) => write!(f, "{channel} {header}"),
            Frame::Body(channel, body) => {
                write!(f, "{channel} body size={} ", body.len())?;
                show_bytes(body, f)
            }
            Frame::Heartbeat(channel) => write!(f, "{channel} heartbeat"),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows the decoded [`Frame`], or why it cannot be decoded.
impl fmt::Display for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.clone().decode() {
            Ok(frame) => frame.fmt(f),
            Err(error) => {
                let size = self.payload.len();
                write!(f, "{} malformed {} of {size} bytes: {error}", self.channel, self.kind.name())
            }
        }
    }
}

impl fmt::Display for ContentHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header body_size={}{}", self.body_size, self.properties)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            f.write_str(comma)?;
            show_key(&name, f)?;
            write!(f, ": {value}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, value) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{value}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::I8(value) => write!(f, "{value}"),
            Value::U8(value) => write!(f, "{value}"),
            Value::I16(value) => write!(f, "{value}"),
            Value::U16(value) => write!(f, "{value}"),
            Value::I32(value) => write!(f, "{value}"),
            Value::U32(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            Value::F32(value) => write!(f, "{value:?}"),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Decimal { scale, value } => write!(f, "{value}e-{scale}"),
            Value::LongString(text) => write!(f, "{text:?}"),
            Value::Array(array) => write!(f, "{array}"),
            Value::Timestamp(seconds) => write!(f, "@{seconds}"),
            Value::Table(table) => write!(f, "{table}"),
            Value::Bytes(bytes) => {
                f.write_str("x")?;
                show_bytes(bytes, f)
            }
            Value::Void => f.write_str("void"),
        }
    }
}

/// Shows a key in quotation marks if it could be taken for something else.
fn show_key(key: &ShortString, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_bare = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.".contains(octet);
    match key.is_empty() || !key.as_bytes().iter().all(is_bare) {
        true => write!(f, "{key:?}"),
        false => write!(f, "{key}"),
    }
}

/// Shows the beginning as text with escapes.
fn show_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { "..." } else { "" };
    write!(f, "\"{}\"{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        method::{basic, connection, queue},
        properties::Properties,
    };

    #[test]
    fn a_frame_is_a_line_with_what_is_set() {
        let publish = basic::Publish {
            exchange: ShortString::from_static("events"),
            routing_key: ShortString::from_static("job.run"),
            mandatory: true,
            ..Default::default()
        };
        let line = r#"1 basic.publish exchange="events" routing_key="job.run" mandatory"#;
        assert_eq!(Frame::Method(1, publish.into()).to_string(), line);
        assert_eq!(Frame::Heartbeat(0).to_string(), "0 heartbeat");
        let body = Frame::Body(2, Bytes::from_static(b"a\xff\n"));
        assert_eq!(body.to_string(), r#"2 body size=3 "a\xff\n""#);
    }

    #[test]
    fn tables_and_properties_are_shown_with_their_values() {
        let mut nested = Array::new();
        nested.push(1).unwrap();
        nested.push(Value::Void).unwrap();
        let mut arguments = Table::new();
        arguments.push("x-queue-type", "quorum").unwrap();
        arguments.push("list", nested).unwrap();
        let declare = queue::Declare { durable: true, arguments: arguments.clone(), ..Default::default() };
        let line = r#"queue.declare durable arguments={x-queue-type: "quorum", list: [1, void]}"#;
        assert_eq!(declare.to_string(), line);

        let properties = Properties { priority: Some(0), headers: Some(arguments), ..Default::default() };
        let header = ContentHeader { class_id: 60, body_size: 5, properties: properties.encode().unwrap() };
        let line = r#"header body_size=5 headers={x-queue-type: "quorum", list: [1, void]} priority=0"#;
        assert_eq!(header.to_string(), line);
    }

    #[test]
    fn keys_and_byte_arrays_cannot_be_taken_for_something_else() {
        let mut table = Table::new();
        table.push("a: 1, b", Bytes::from_static(b"x")).unwrap();
        table.push("", "x").unwrap();
        assert_eq!(table.to_string(), r#"{"a: 1, b": x"x", "": "x"}"#);
    }

    #[test]
    fn secrets_are_not_shown() {
        let start_ok = connection::StartOk { response: "hunter2".into(), ..Default::default() };
        let update = connection::UpdateSecret { new_secret: "hunter2".into(), ..Default::default() };
        for frame in [Frame::Method(0, start_ok.into()), Frame::Method(0, update.into())] {
            let shown = format!("{frame} {frame:?}");
            assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_malformed_frame_says_what_is_wrong() {
        let raw = RawFrame {
            kind: crate::frame::FrameKind::Method,
            channel: 3,
            payload: Bytes::from_static(&[0, 60, 0, 99]),
        };
        assert_eq!(raw.to_string(), "3 malformed a method frame of 4 bytes: unknown method 60.99");
    }
}
