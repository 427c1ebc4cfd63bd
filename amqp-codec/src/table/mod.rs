//! Field tables and arrays (spec section 4.2.5.5), kept in their encoded form, and the values in
//! them.
//!
//! A table that passes through is never rebuilt: order, duplicates and the exact encoding stay. It
//! is checked once, when it is made. After that reading cannot fail, and a value is decoded only
//! when it is asked for.
//!
//! The types of values are RabbitMQ's (<https://www.rabbitmq.com/amqp-0-9-1-errata#section_3>),
//! which differ from the letter of the specification.

pub(crate) mod entries;
pub(crate) mod header_table;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    error::Error,
    table::entries::{Elements, Entries, ValueRef},
    wire::{
        argument::{Argument, Reader, Writer},
        field::FieldKind,
        nesting::{self, MAX_DEPTH},
        text::{LongString, ShortString, check_short},
    },
};

/// Named values: arguments of declarations, headers of messages, properties of peers.
///
/// Cloning shares the bytes. Equality is equality of the bytes: the same entries in another order
/// differ.
///
/// ```
/// use amqp_codec::{Table, Value};
///
/// let mut headers = Table::new();
/// headers.insert("x-retries", 3)?;
/// headers.insert("source", "billing")?;
/// assert_eq!(headers.get("x-retries").and_then(|v| v.as_i64()), Some(3));
/// assert_eq!(headers.iter().count(), 2);
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Table {
    encoded: Bytes,
    /// The depth of the deepest nesting inside, this table included.
    depth: u8,
}

/// A sequence of values.
///
/// Cloning shares the bytes.
#[derive(Clone, Default)]
pub struct Array {
    encoded: Bytes,
    depth: u8,
}

impl Table {
    /// A table without entries.
    pub const fn new() -> Self {
        Table { encoded: Bytes::new(), depth: 1 }
    }

    /// Takes the entries' bytes, without the length that precedes them on the wire.
    ///
    /// # Errors
    /// When an entry is malformed, or nested deeper than 32.
    pub fn from_encoded(encoded: Bytes) -> Result<Self, Error> {
        let depth = nesting::check_table(&encoded, 1)?;
        Ok(Table { encoded, depth })
    }

    /// The entries' bytes, without the length that precedes them on the wire.
    pub fn as_encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The entries in order, duplicates included.
    pub fn iter(&self) -> TableEntries<'_> {
        TableEntries { source: &self.encoded, entries: self.entries() }
    }

    /// As [`iter`](Self::iter), with borrowed names and values: faster for reading all of them.
    pub fn entries(&self) -> Entries<'_> {
        Entries::new(&self.encoded)
    }

    /// The first value under `key`.
    pub fn get(&self, key: &str) -> Option<Value> {
        let (_, value) = self.entries().find(|(name, _)| *name == key.as_bytes())?;
        Value::of(value, &self.encoded)
    }

    /// Whether there is a value under `key`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.entries().any(|(name, _)| name == key.as_bytes())
    }

    /// Puts `value` under `key`: at the end, after removing what was there.
    ///
    /// # Errors
    /// A key over 255 bytes, or nesting over 32.
    pub fn insert(&mut self, key: &str, value: impl Into<Value>) -> Result<(), Error> {
        self.remove(key);
        self.push(key, value)
    }

    /// Puts text under `key`, as [`insert`](Self::insert) does, and copies it once.
    ///
    /// # Errors
    /// A key over 255 bytes, or text over 4 GiB.
    pub fn insert_text(&mut self, key: &str, text: &str) -> Result<(), Error> {
        check_short("field name", key.len())?;
        self.remove(key);
        append(&mut self.encoded, 1 + key.len() + 5 + text.len(), |out| {
            put_name(key, out);
            sized(out, b'S', "long string", text.as_bytes())
        })?;
        self.depth = self.depth.max(1);
        Ok(())
    }

    /// Appends an entry, even when there is one under the same key.
    ///
    /// # Errors
    /// A key over 255 bytes, or nesting over 32.
    pub fn push(&mut self, key: &str, value: impl Into<Value>) -> Result<(), Error> {
        let value = value.into();
        check_short("field name", key.len())?;
        let depth = nested(&value)?;
        append(&mut self.encoded, 1 + key.len(), |out| {
            put_name(key, out);
            value.write(out)
        })?;
        self.depth = self.depth.max(depth);
        Ok(())
    }

    /// Removes every entry under `key`; tells whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        if !self.contains_key(key) {
            return false;
        }
        let mut kept = BytesMut::with_capacity(self.encoded.len());
        for (name, entry) in RawEntries(&self.encoded) {
            if name != key.as_bytes() {
                kept.put_slice(entry);
            }
        }
        self.encoded = kept.freeze();
        // The removed entry may have been the deepest. The rest was checked before, so this cannot
        // fail.
        self.depth = nesting::check_table(&self.encoded, 1).unwrap_or(self.depth);
        true
    }

    /// Sorts the entries by the bytes of their keys; entries of equal keys keep their order.
    /// RabbitMQ writes a table in this order after changing it.
    pub fn sort(&mut self) {
        let mut entries: Vec<_> = RawEntries(&self.encoded).collect();
        if entries.is_sorted_by_key(|(name, _)| *name) {
            return;
        }
        entries.sort_by_key(|(name, _)| *name);
        let mut sorted = BytesMut::with_capacity(self.encoded.len());
        entries.into_iter().for_each(|(_, entry)| sorted.put_slice(entry));
        self.encoded = sorted.freeze();
    }

    pub(crate) fn depth(&self) -> u8 {
        self.depth.max(1)
    }
}

impl Array {
    /// An array without elements.
    pub const fn new() -> Self {
        Array { encoded: Bytes::new(), depth: 1 }
    }

    /// Takes the elements' bytes, without the length that precedes them on the wire.
    ///
    /// # Errors
    /// When an element is malformed, or nested deeper than 32.
    pub fn from_encoded(encoded: Bytes) -> Result<Self, Error> {
        let depth = nesting::check_array(&encoded, 1)?;
        Ok(Array { encoded, depth })
    }

    /// The elements' bytes, without the length that precedes them on the wire.
    pub fn as_encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The elements in order.
    pub fn iter(&self) -> ArrayElements<'_> {
        ArrayElements { source: &self.encoded, elements: self.elements() }
    }

    /// As [`iter`](Self::iter), with borrowed values: faster for reading all of them.
    pub fn elements(&self) -> Elements<'_> {
        Elements::new(&self.encoded)
    }

    /// Appends an element.
    ///
    /// # Errors
    /// Nesting over 32.
    pub fn push(&mut self, value: impl Into<Value>) -> Result<(), Error> {
        let value = value.into();
        let depth = nested(&value)?;
        append(&mut self.encoded, 0, |out| value.write(out))?;
        self.depth = self.depth.max(depth);
        Ok(())
    }

    pub(crate) fn depth(&self) -> u8 {
        self.depth.max(1)
    }
}

/// One value of a [`Table`] or an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`; also `L`, which py-amqp writes for the same type.
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`
    Decimal {
        /// How many of the digits come after the point.
        scale: u8,
        /// All digits.
        value: i32,
    },
    /// `S`: text, or any bytes.
    LongString(LongString),
    /// `A`
    Array(Array),
    /// `T`: seconds since 1970-01-01 UTC.
    Timestamp(u64),
    /// `F`
    Table(Table),
    /// `x`: a byte array.
    Bytes(Bytes),
    /// `V`
    Void,
}

/// The value, borrowed.
impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(b) => ValueRef::Bool(*b),
            Value::I8(n) => ValueRef::I8(*n),
            Value::U8(n) => ValueRef::U8(*n),
            Value::I16(n) => ValueRef::I16(*n),
            Value::U16(n) => ValueRef::U16(*n),
            Value::I32(n) => ValueRef::I32(*n),
            Value::U32(n) => ValueRef::U32(*n),
            Value::I64(n) => ValueRef::I64(*n),
            Value::F32(n) => ValueRef::F32(*n),
            Value::F64(n) => ValueRef::F64(*n),
            Value::Decimal { scale, value } => ValueRef::Decimal { scale: *scale, value: *value },
            Value::LongString(text) => ValueRef::LongString(text.as_bytes()),
            Value::Array(array) => ValueRef::Array(array.elements()),
            Value::Timestamp(seconds) => ValueRef::Timestamp(*seconds),
            Value::Table(table) => ValueRef::Table(table.entries()),
            Value::Bytes(bytes) => ValueRef::Bytes(bytes),
            Value::Void => ValueRef::Void,
        }
    }
}

impl Value {
    /// The text of a long string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::LongString(text) => text.as_str().ok(),
            _ => None,
        }
    }

    /// Any integer type, widened: brokers compare integer arguments by value, whatever their width.
    pub fn as_i64(&self) -> Option<i64> {
        ValueRef::from(self).as_i64()
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// A nested table.
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// How many tables and arrays are nested in this value, itself counted.
    pub(crate) fn depth(&self) -> u8 {
        match self {
            Value::Array(array) => array.depth(),
            Value::Table(table) => table.depth(),
            _ => 0,
        }
    }

    /// The owned form of a checked value, which shares the bytes of `source`.
    fn of(value: ValueRef<'_>, source: &Bytes) -> Option<Value> {
        Some(match value {
            ValueRef::Bool(b) => Value::Bool(b),
            ValueRef::I8(n) => Value::I8(n),
            ValueRef::U8(n) => Value::U8(n),
            ValueRef::I16(n) => Value::I16(n),
            ValueRef::U16(n) => Value::U16(n),
            ValueRef::I32(n) => Value::I32(n),
            ValueRef::U32(n) => Value::U32(n),
            ValueRef::I64(n) => Value::I64(n),
            ValueRef::F32(n) => Value::F32(n),
            ValueRef::F64(n) => Value::F64(n),
            ValueRef::Decimal { scale, value } => Value::Decimal { scale, value },
            ValueRef::LongString(text) => Value::LongString(source.slice_ref(text).into()),
            ValueRef::Array(elements) => {
                Value::Array(Array::from_encoded(source.slice_ref(elements.as_encoded())).ok()?)
            }
            ValueRef::Timestamp(seconds) => Value::Timestamp(seconds),
            ValueRef::Table(entries) => {
                Value::Table(Table::from_encoded(source.slice_ref(entries.as_encoded())).ok()?)
            }
            ValueRef::Bytes(bytes) => Value::Bytes(source.slice_ref(bytes)),
            ValueRef::Void => Value::Void,
        })
    }

    /// Writes the type octet and the value.
    pub(crate) fn write(&self, out: &mut BytesMut) -> Result<(), Error> {
        match self {
            Value::Bool(b) => out.put_slice(&[b't', u8::from(*b)]),
            Value::I8(n) => out.put_slice(&[b'b', n.cast_unsigned()]),
            Value::U8(n) => out.put_slice(&[b'B', *n]),
            Value::I16(n) => tagged(out, b's', &n.to_be_bytes()),
            Value::U16(n) => tagged(out, b'u', &n.to_be_bytes()),
            Value::I32(n) => tagged(out, b'I', &n.to_be_bytes()),
            Value::U32(n) => tagged(out, b'i', &n.to_be_bytes()),
            Value::I64(n) => tagged(out, b'l', &n.to_be_bytes()),
            Value::F32(n) => tagged(out, b'f', &n.to_be_bytes()),
            Value::F64(n) => tagged(out, b'd', &n.to_be_bytes()),
            Value::Decimal { scale, value } => {
                out.put_slice(&[b'D', *scale]);
                out.put_i32(*value);
            }
            Value::LongString(text) => return sized(out, b'S', "long string", text.as_bytes()),
            Value::Array(array) => return sized(out, b'A', "array", array.as_encoded()),
            Value::Timestamp(seconds) => tagged(out, b'T', &seconds.to_be_bytes()),
            Value::Table(table) => return sized(out, b'F', "table", table.as_encoded()),
            Value::Bytes(bytes) => return sized(out, b'x', "byte array", bytes),
            Value::Void => out.put_u8(b'V'),
        }
        Ok(())
    }
}

fn tagged(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    out.put_slice(bytes);
}

fn sized(out: &mut BytesMut, tag: u8, what: &'static str, bytes: &[u8]) -> Result<(), Error> {
    let length = u32::try_from(bytes.len()).map_err(|_| Error::TooLong {
        what,
        length: bytes.len() as u64,
        limit: u64::from(u32::MAX),
    })?;
    out.put_u8(tag);
    out.put_u32(length);
    out.put_slice(bytes);
    Ok(())
}

/// The depth of a table or array that contains `value`.
fn nested(value: &Value) -> Result<u8, Error> {
    match value.depth() {
        depth if depth >= MAX_DEPTH => Err(Error::TooDeep { limit: MAX_DEPTH }),
        depth => Ok(depth + 1),
    }
}

/// Writes the name of an entry, which is short.
fn put_name(name: &str, out: &mut BytesMut) {
    out.put_u8(name.len() as u8);
    out.put_slice(name.as_bytes());
}

/// Appends in place when nobody shares the bytes, and to a copy otherwise. `room` is the number of
/// bytes that come at least. A failed write leaves them unchanged.
fn append(
    encoded: &mut Bytes,
    room: usize,
    write: impl FnOnce(&mut BytesMut) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut out = match std::mem::take(encoded).try_into_mut() {
        Ok(mut own) => {
            own.reserve(room);
            own
        }
        Err(shared) => {
            let mut copy = BytesMut::with_capacity(shared.len() + room);
            copy.put_slice(&shared);
            copy
        }
    };
    let before = out.len();
    let written = write(&mut out);
    if written.is_err() {
        out.truncate(before);
    }
    *encoded = out.freeze();
    written
}

/// The entries of a checked table, each as its name and all of its bytes.
struct RawEntries<'a>(&'a [u8]);

impl<'a> Iterator for RawEntries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.0.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (rest, _) = nesting::skip(rest, 1).ok()?;
        let entry = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some((name, entry))
    }
}

/// Iterator over a [`Table`].
pub struct TableEntries<'a> {
    source: &'a Bytes,
    entries: Entries<'a>,
}

impl Iterator for TableEntries<'_> {
    type Item = (ShortString, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.entries.next()?;
        Some((ShortString::from_wire(self.source.slice_ref(name)), Value::of(value, self.source)?))
    }
}

/// Iterator over an [`Array`].
pub struct ArrayElements<'a> {
    source: &'a Bytes,
    elements: Elements<'a>,
}

impl Iterator for ArrayElements<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Self::Item> {
        Value::of(self.elements.next()?, self.source)
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = (ShortString, Value);
    type IntoIter = TableEntries<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a Array {
    type Item = Value;
    type IntoIter = ArrayElements<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Argument for Table {
    const KIND: FieldKind = FieldKind::Table;

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error> {
        Table::from_encoded(reader.long_bytes(what)?)
    }

    fn write(&self, writer: &mut Writer<'_>, what: &'static str) -> Result<(), Error> {
        writer.long(what, &self.encoded)
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! same_bytes {
    ($($name:ident),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.encoded == other.encoded
            }
        }

        impl Eq for $name {}
    )*};
}

same_bytes!(Table, Array);

macro_rules! value_from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        }
    )*};
}

value_from!(bool => Bool, i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64,
    f32 => F32, f64 => F64, &str => LongString, String => LongString, LongString => LongString,
    Array => Array, Table => Table, Bytes => Bytes);

#[cfg(test)]
mod tests;
