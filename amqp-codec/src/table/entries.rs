//! Reading tables and arrays without touching a reference count: the values are borrowed from the
//! encoded bytes.

use crate::{error::Error, wire::nesting};

/// Iterator over the entries of a [`Table`](crate::Table), names and values borrowed from it.
///
/// It may also go over bytes [that nobody has checked](Entries::from_encoded): a proxy or broker
/// steps over what is nested in them without looking at it, however deep that is.
///
/// ```
/// use amqp_codec::{Entries, ValueRef};
///
/// let mut nested = Vec::new();
/// for _ in 0..1000 {
///     let length = u32::try_from(nested.len()).unwrap();
///     nested = [&b"\x04deepF"[..], &length.to_be_bytes(), &nested].concat();
/// }
/// let mut entries = Entries::from_encoded(&nested);
/// entries.check()?;
/// assert!(matches!(entries.next(), Some((b"deep", ValueRef::Table(_)))));
/// assert_eq!(entries.next(), None);
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries<'a>(&'a [u8]);

/// Iterator over the elements of an [`Array`](crate::Array), borrowed from it; like [`Entries`], it
/// also goes over unchecked bytes.
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
    /// Iterates over bytes that have been checked.
    pub(crate) fn new(encoded: &'a [u8]) -> Self {
        Entries(encoded)
    }

    /// Iterates over the bytes of a table's entries, without the length that precedes them on the
    /// wire. Nothing is checked: the iterator ends at a malformed entry.
    pub const fn from_encoded(encoded: &'a [u8]) -> Self {
        Entries(encoded)
    }

    /// Checks the remaining entries, but not what is nested in their values. After that
    /// [`from_encoded`](Self::from_encoded) reaches the last of them.
    ///
    /// # Errors
    /// When an entry is malformed.
    pub fn check(&self) -> Result<(), Error> {
        nesting::check_entries(self.0)
    }

    /// The bytes of the remaining entries.
    pub fn as_encoded(&self) -> &'a [u8] {
        self.0
    }

    /// The remaining entries as bytes: each one's name, and the whole entry.
    pub fn raw(mut self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        std::iter::from_fn(move || {
            let before = self.0;
            let (name, _) = self.next()?;
            let (entry, _) = before.split_at_checked(before.len() - self.0.len())?;
            Some((name, entry))
        })
    }
}

impl<'a> Elements<'a> {
    /// Iterates over bytes that have been checked.
    pub(crate) fn new(encoded: &'a [u8]) -> Self {
        Elements(encoded)
    }

    /// As [`Entries::from_encoded`], over the bytes of an array's elements.
    pub const fn from_encoded(encoded: &'a [u8]) -> Self {
        Elements(encoded)
    }

    /// As [`Entries::check`].
    ///
    /// # Errors
    /// When an element is malformed.
    pub fn check(&self) -> Result<(), Error> {
        nesting::check_elements(self.0)
    }

    /// The bytes of the remaining elements.
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
    /// Any integer type, widened; as [`Value::as_i64`](crate::Value::as_i64).
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            ValueRef::I8(n) => n.into(),
            ValueRef::U8(n) => n.into(),
            ValueRef::I16(n) => n.into(),
            ValueRef::U16(n) => n.into(),
            ValueRef::I32(n) => n.into(),
            ValueRef::U32(n) => n.into(),
            ValueRef::I64(n) => n,
            _ => return None,
        })
    }

    /// Reads the value at the start of `bytes`, which have been checked, and returns it with the
    /// rest. It uses the standard library and not nom's `take`, because no error has to be reported
    /// here and `take` makes a table of twenty headers a fifth slower.
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

    #[test]
    fn what_is_nested_is_stepped_over_and_what_is_malformed_is_the_end() {
        // The length of the nested table is right; an entry inside it is malformed.
        let inner = b"\x01xS\0\0\0\xff";
        let table = [b"\x01aF\0\0\0\x07", &inner[..], b"\x01bA\0\0\0\x01?", b"\x01ct\x01"].concat();
        let mut entries = Entries::from_encoded(&table);
        assert_eq!(entries.check(), Ok(()));
        let Some((b"a", ValueRef::Table(mut inside))) = entries.next() else { panic!("a table") };
        assert!(inside.check().is_err());
        assert_eq!(inside.next(), None);
        let Some((b"b", ValueRef::Array(mut inside))) = entries.next() else { panic!("an array") };
        assert_eq!(inside.check(), Err(Error::UnknownFieldType(b'?')));
        assert_eq!(inside.next(), None);
        assert_eq!(entries.next(), Some((&b"c"[..], ValueRef::Bool(true))));
        assert_eq!(entries.next(), None);
        for cut in 1..table.len() {
            let entries = Entries::from_encoded(&table[..cut]);
            assert_eq!(entries.check().is_ok(), [14, 22].contains(&cut), "cut at {cut}");
            assert_eq!(entries.count(), [14, 22].iter().filter(|whole| **whole <= cut).count());
        }
    }
}
