//! Reading checked tables and arrays without touching a reference count: the values as they stand in the bytes.

/// Iterator over the entries of a [`Table`](crate::Table), names and values borrowed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries<'a>(&'a [u8]);

/// Iterator over the elements of an [`Array`](crate::Array), borrowed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elements<'a>(&'a [u8]);

/// A [`Value`](crate::Value) whose bytes are borrowed from the table it is in.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the variants are those of Value, and documented there")]
pub enum ValueRef<'a> {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal { scale: u8, value: i32 },
    LongString(&'a [u8]),
    Array(Elements<'a>),
    Timestamp(u64),
    Table(Entries<'a>),
    Bytes(&'a [u8]),
    Void,
}

impl<'a> Entries<'a> {
    /// Over bytes that have been checked.
    pub(crate) fn new(encoded: &'a [u8]) -> Self {
        Entries(encoded)
    }

    /// The bytes of the entries to come.
    pub fn as_encoded(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Elements<'a> {
    /// Over bytes that have been checked.
    pub(crate) fn new(encoded: &'a [u8]) -> Self {
        Elements(encoded)
    }

    /// The bytes of the elements to come.
    pub fn as_encoded(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.0.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (value, rest) = ValueRef::split_from(rest)?;
        self.0 = rest;
        Some((name, value))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = ValueRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = ValueRef::split_from(self.0)?;
        self.0 = rest;
        Some(value)
    }
}

impl<'a> ValueRef<'a> {
    /// The value at the start of `bytes`, which have been checked, and what follows it.
    #[inline]
    pub(crate) fn split_from(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = bytes.split_first()?;
        Some(match tag {
            b't' => fixed(rest, |[octet]| ValueRef::Bool(octet != 0))?,
            b'b' => fixed(rest, |octets| ValueRef::I8(i8::from_be_bytes(octets)))?,
            b'B' => fixed(rest, |octets| ValueRef::U8(u8::from_be_bytes(octets)))?,
            b's' => fixed(rest, |octets| ValueRef::I16(i16::from_be_bytes(octets)))?,
            b'u' => fixed(rest, |octets| ValueRef::U16(u16::from_be_bytes(octets)))?,
            b'I' => fixed(rest, |octets| ValueRef::I32(i32::from_be_bytes(octets)))?,
            b'i' => fixed(rest, |octets| ValueRef::U32(u32::from_be_bytes(octets)))?,
            b'l' | b'L' => fixed(rest, |octets| ValueRef::I64(i64::from_be_bytes(octets)))?,
            b'f' => fixed(rest, |octets| ValueRef::F32(f32::from_be_bytes(octets)))?,
            b'd' => fixed(rest, |octets| ValueRef::F64(f64::from_be_bytes(octets)))?,
            b'D' => fixed(rest, |[scale, v3, v2, v1, v0]| ValueRef::Decimal {
                scale,
                value: i32::from_be_bytes([v3, v2, v1, v0]),
            })?,
            b'S' => sized(rest, ValueRef::LongString)?,
            b'A' => sized(rest, |inner| ValueRef::Array(Elements(inner)))?,
            b'T' => fixed(rest, |octets| ValueRef::Timestamp(u64::from_be_bytes(octets)))?,
            b'F' => sized(rest, |inner| ValueRef::Table(Entries(inner)))?,
            b'x' => sized(rest, ValueRef::Bytes)?,
            b'V' => (ValueRef::Void, rest),
            _ => return None,
        })
    }
}

#[inline]
fn fixed<'a, const N: usize>(
    bytes: &'a [u8],
    value: impl FnOnce([u8; N]) -> ValueRef<'a>,
) -> Option<(ValueRef<'a>, &'a [u8])> {
    let (octets, rest) = bytes.split_first_chunk()?;
    Some((value(*octets), rest))
}

#[inline]
fn sized<'a>(
    bytes: &'a [u8],
    value: impl FnOnce(&'a [u8]) -> ValueRef<'a>,
) -> Option<(ValueRef<'a>, &'a [u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (inner, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((value(inner), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Array, Table, Value};

    #[test]
    fn entries_are_read_in_place_however_deep() {
        let mut list = Array::new();
        list.push(Value::Decimal { scale: 2, value: -314 }).unwrap();
        list.push("two").unwrap();
        let mut inner = Table::new();
        inner.push("list", list).unwrap();
        let mut table = Table::new();
        table.push("n", 7).unwrap();
        table.push("inner", inner).unwrap();

        let mut entries = table.entries();
        assert_eq!(entries.next(), Some((&b"n"[..], ValueRef::I32(7))));
        let Some((b"inner", ValueRef::Table(mut inner))) = entries.next() else { panic!("a table") };
        let Some((b"list", ValueRef::Array(list))) = inner.next() else { panic!("an array") };
        let decimal = ValueRef::Decimal { scale: 2, value: -314 };
        assert_eq!(list.collect::<Vec<_>>(), [decimal, ValueRef::LongString(b"two")]);
        assert_eq!((inner.next(), entries.next()), (None, None));
    }
}
