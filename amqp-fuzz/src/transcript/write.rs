//! Items as lines of text.

use std::fmt::{self, Write as _};

use amqp_codec::{Array, FieldKind, Frame, MethodId, ShortString, Table, Value};
use bytes::Bytes;

use super::{
    item::Item,
    secret::{REDACTED, is_secret, may_hold, odd_octets},
};
use crate::{
    arguments::{
        argument::{self, Argument, Found},
        properties,
    },
    wire_frame::WireFrame,
};

/// The class of all content.
pub(super) const BASIC: u16 = 60;

/// An item with its secrets, from [`Item::with_secrets`].
pub struct WithSecrets<'a>(&'a Item);

impl Item {
    /// Shows the item with its secrets, for a reproducer that has to log in.
    pub fn with_secrets(&self) -> WithSecrets<'_> {
        WithSecrets(self)
    }
}

impl fmt::Display for WithSecrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(self.0, true, f)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(self, false, f)
    }
}

fn line(item: &Item, shows_secrets: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_hidden = !shows_secrets && odd_octets(item).is_some_and(may_hold);
    let octets = |octets: &[u8], f: &mut fmt::Formatter<'_>| match is_hidden {
        true => f.write_str(REDACTED),
        false => quoted(octets, f),
    };
    match item {
        Item::Octets(bytes) => {
            f.write_str("octets ")?;
            octets(bytes, f)
        }
        Item::Wire(WireFrame { kind, channel, size, payload, end }) => {
            write!(f, "{channel} raw type={kind} size={size} end={end:#04x} ")?;
            octets(payload, f)
        }
        Item::Frame(Frame::Heartbeat(channel)) => write!(f, "{channel} heartbeat"),
        Item::Frame(Frame::Body(channel, body)) => {
            write!(f, "{channel} body size={} ", body.len())?;
            quoted(body, f)
        }
        Item::Frame(frame @ Frame::Method(channel, method)) => {
            write!(f, "{channel} {}", method.name())?;
            let Some((id, found)) = argument::read(&WireFrame::of(frame).payload) else { return Ok(()) };
            found.iter().try_for_each(|found| method_argument(id, found, shows_secrets, f))
        }
        Item::Frame(Frame::Header(channel, header)) => {
            write!(f, "{channel} header")?;
            if header.class_id != BASIC {
                write!(f, " class_id={}", header.class_id)?;
            }
            write!(f, " body_size={}", header.body_size)?;
            let encoded = header.properties.as_encoded();
            match named(encoded) {
                Some(found) => found.iter().try_for_each(|found| named_value(found, f)),
                None => {
                    f.write_str(" encoded=")?;
                    quoted(encoded, f)
                }
            }
        }
    }
}

/// The properties by their names; `None` if they would not be the same when written again.
pub(super) fn named(encoded: &Bytes) -> Option<Vec<Found>> {
    let found = properties::read(encoded, 0)?;
    let list: Vec<_> = found.iter().map(|found| (found.field.name, found.value.clone())).collect();
    (properties::encode(&list)?.as_encoded() == encoded).then_some(found)
}

/// A method's argument, unless it is zero or empty.
fn method_argument(
    id: MethodId,
    found: &Found,
    shows_secrets: bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    if found.value.is_default() {
        return Ok(());
    }
    if found.field.kind == FieldKind::Bit {
        return write!(f, " {}", found.field.name);
    }
    if is_secret(id, found.field.name) && !shows_secrets {
        return write!(f, " {}={REDACTED}", found.field.name);
    }
    named_value(found, f)
}

fn named_value(found: &Found, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " {}=", found.field.name)?;
    match &found.value {
        Argument::Bit(bit) => write!(f, "{bit}"),
        Argument::Number(number) => write!(f, "{number}"),
        Argument::ShortString(text) => quoted(text.as_bytes(), f),
        Argument::LongString(bytes) => quoted(bytes, f),
        Argument::Table(it) => table(it, f),
    }
}

/// A table by its entries, if they would be the same when written again, else as its bytes.
fn table(table: &Table, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if rebuilt(table).as_ref() != Some(table) {
        f.write_str("encoded")?;
        return quoted(table.as_encoded(), f);
    }
    f.write_str("{")?;
    for (index, (name, it)) in table.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        key(&name, f)?;
        f.write_str(": ")?;
        value(&it, f)?;
    }
    f.write_str("}")
}

fn array(array: &Array, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("[")?;
    for (index, it) in array.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        value(&it, f)?;
    }
    f.write_str("]")
}

fn key(name: &ShortString, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name.as_str() {
        Ok(text) if is_bare(text) => f.write_str(text),
        _ => quoted(name.as_bytes(), f),
    }
}

/// Returns whether a key needs no quotation marks.
pub(super) fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
}

/// A value with its type, apart from those of `I`, `t`, `S`, `T`, `V`, `D` and what has brackets.
fn value(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Bool(bit) => write!(f, "{bit}"),
        Value::I8(number) => write!(f, "{number}i8"),
        Value::U8(number) => write!(f, "{number}u8"),
        Value::I16(number) => write!(f, "{number}i16"),
        Value::U16(number) => write!(f, "{number}u16"),
        Value::I32(number) => write!(f, "{number}"),
        Value::U32(number) => write!(f, "{number}u32"),
        Value::I64(number) => write!(f, "{number}i64"),
        Value::F32(number) if number.is_finite() => write!(f, "{number:?}f32"),
        Value::F32(number) => write!(f, "{:#x}f32", number.to_bits()),
        Value::F64(number) if number.is_finite() => write!(f, "{number:?}f64"),
        Value::F64(number) => write!(f, "{:#x}f64", number.to_bits()),
        Value::Decimal { scale, value } => write!(f, "{value}e-{scale}"),
        Value::LongString(text) => quoted(text.as_bytes(), f),
        Value::Array(it) => array(it, f),
        Value::Timestamp(seconds) => write!(f, "@{seconds}"),
        Value::Table(it) => table(it, f),
        Value::Bytes(bytes) => {
            f.write_str("x")?;
            quoted(bytes, f)
        }
        Value::Void => f.write_str("void"),
    }
}

/// Text in quotation marks, with escapes; bytes that are no text as such.
fn quoted(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok(text) => write!(f, "{text:?}"),
        Err(_) => {
            f.write_char('"')?;
            write!(f, "{}", bytes.escape_ascii())?;
            f.write_char('"')
        }
    }
}

/// The table made again of its entries; `None` if a name is no text.
pub(super) fn rebuilt(table: &Table) -> Option<Table> {
    let mut again = Table::new();
    for (name, value) in table {
        again.push(name.as_str().ok()?, value).ok()?;
    }
    Some(again)
}
