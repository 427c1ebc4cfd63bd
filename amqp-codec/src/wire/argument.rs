//! Readers and writers of single arguments, which every method, header and table uses.
//!
//! They pack bits: consecutive booleans share octets, lowest bit first (spec section 4.2.5.2).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Complete;

use crate::{
    error::Error,
    wire::{
        field::FieldKind,
        octets::{self, Parsed},
        text::{LongString, Secret, ShortString},
    },
};

/// Reads arguments from a frame's payload; strings it returns are slices of that payload.
pub struct Reader<'a> {
    source: &'a Bytes,
    rest: &'a [u8],
    bits: u8,
    bits_left: u8,
}

/// Writes arguments to the end of a buffer.
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    bits: u8,
    bits_used: u8,
}

/// A type that can be a method's argument.
pub(crate) trait Argument: Sized {
    const KIND: FieldKind;

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error>;
    /// # Errors
    /// When the value is longer than its length field can say.
    fn write(&self, writer: &mut Writer<'_>, what: &'static str) -> Result<(), Error>;

    /// Tells whether the value is the default: zero or empty.
    fn is_default(&self) -> bool;

    /// Writes it as a transcript shows it.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// Shows ` name=value`. A default value shows nothing, and a set bit only its name.
pub(crate) fn show_argument<A: Argument>(name: &str, value: &A, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if value.is_default() {
        return Ok(());
    }
    write!(f, " {name}")?;
    if A::KIND == FieldKind::Bit {
        return Ok(());
    }
    f.write_str("=")?;
    value.show(f)
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Bytes) -> Self {
        Reader { source, rest: source, bits: 0, bits_left: 0 }
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.next(octets::octet::<Complete>(what))
    }

    #[inline]
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.next(octets::short::<Complete>(what))
    }

    #[inline]
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.next(octets::long::<Complete>(what))
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.next(octets::long_long::<Complete>(what))
    }

    pub(crate) fn bit(&mut self, what: &'static str) -> Result<bool, Error> {
        if self.bits_left == 0 {
            self.bits = self.u8(what)?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    pub(crate) fn short_bytes(&mut self, what: &'static str) -> Result<Bytes, Error> {
        self.next(octets::short_string::<Complete>(what)).map(|slice| self.source.slice_ref(slice))
    }

    pub(crate) fn long_bytes(&mut self, what: &'static str) -> Result<Bytes, Error> {
        self.next(octets::long_string::<Complete>(what)).map(|slice| self.source.slice_ref(slice))
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        self.source.slice_ref(std::mem::take(&mut self.rest))
    }

    pub(crate) fn finish(self, what: &'static str) -> Result<(), Error> {
        octets::end(self.rest, what)
    }

    /// Ends a run of bits: the next argument begins with a new octet.
    #[inline]
    fn next<T>(&mut self, parser: impl FnMut(&'a [u8]) -> Parsed<'a, T>) -> Result<T, Error> {
        self.bits_left = 0;
        octets::next(&mut self.rest, parser)
    }
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> Self {
        Writer { out, bits: 0, bits_used: 0 }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.flush_bits();
        self.out.put_u8(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.flush_bits();
        self.out.put_u16(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.flush_bits();
        self.out.put_u32(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.flush_bits();
        self.out.put_u64(value);
    }

    pub(crate) fn bit(&mut self, value: bool) {
        if self.bits_used == 8 {
            self.flush_bits();
        }
        self.bits |= u8::from(value) << self.bits_used;
        self.bits_used += 1;
    }

    /// Writes a length octet, then the bytes; `ShortString` has checked the length.
    pub(crate) fn short(&mut self, text: &ShortString) {
        self.u8(text.len() as u8);
        self.out.put_slice(text.as_bytes());
    }

    pub(crate) fn long(&mut self, what: &'static str, bytes: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(bytes.len()).map_err(|_| Error::TooLong {
            what,
            length: bytes.len() as u64,
            limit: u64::from(u32::MAX),
        })?;
        self.u32(length);
        self.out.put_slice(bytes);
        Ok(())
    }

    pub(crate) fn finish(mut self) {
        self.flush_bits();
    }

    fn flush_bits(&mut self) {
        if self.bits_used > 0 {
            self.out.put_u8(self.bits);
            self.bits = 0;
            self.bits_used = 0;
        }
    }
}

macro_rules! number_argument {
    ($($type:ident => $kind:ident),*) => {$(
        impl Argument for $type {
            const KIND: FieldKind = FieldKind::$kind;

            fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error> {
                reader.$type(what)
            }

            fn write(&self, writer: &mut Writer<'_>, _what: &'static str) -> Result<(), Error> {
                writer.$type(*self);
                Ok(())
            }

            fn is_default(&self) -> bool {
                *self == 0
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}

number_argument!(u8 => Octet, u16 => Short, u32 => Long, u64 => LongLong);

impl Argument for bool {
    const KIND: FieldKind = FieldKind::Bit;

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error> {
        reader.bit(what)
    }

    fn write(&self, writer: &mut Writer<'_>, _what: &'static str) -> Result<(), Error> {
        writer.bit(*self);
        Ok(())
    }

    fn is_default(&self) -> bool {
        !*self
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Argument for ShortString {
    const KIND: FieldKind = FieldKind::ShortString;

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error> {
        reader.short_bytes(what).map(ShortString::from_wire)
    }

    fn write(&self, writer: &mut Writer<'_>, _what: &'static str) -> Result<(), Error> {
        writer.short(self);
        Ok(())
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Argument for LongString {
    const KIND: FieldKind = FieldKind::LongString;

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error> {
        reader.long_bytes(what).map(LongString::from)
    }

    fn write(&self, writer: &mut Writer<'_>, what: &'static str) -> Result<(), Error> {
        writer.long(what, self.as_bytes())
    }

    fn is_default(&self) -> bool {
        self.is_empty()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Argument for Secret {
    const KIND: FieldKind = FieldKind::LongString;

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Error> {
        LongString::read(reader, what).map(Secret::from)
    }

    fn write(&self, writer: &mut Writer<'_>, what: &'static str) -> Result<(), Error> {
        self.inner().write(writer, what)
    }

    fn is_default(&self) -> bool {
        self.inner().is_empty()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_bits_share_an_octet_and_nine_need_two() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        for i in 0..9 {
            writer.bit(i % 2 == 0);
        }
        writer.u8(7);
        writer.finish();
        assert_eq!(&out[..], [0b0101_0101, 1, 7]);

        let bytes = out.freeze();
        let mut reader = Reader::new(&bytes);
        for i in 0..9 {
            assert_eq!(reader.bit("bit").unwrap(), i % 2 == 0, "bit {i}");
        }
        assert_eq!(reader.u8("octet").unwrap(), 7);
        reader.finish("test").unwrap();
    }

    #[test]
    fn a_length_past_the_end_is_truncated_and_allocates_nothing() {
        let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, b'x']);
        let error = Reader::new(&bytes).long_bytes("challenge").unwrap_err();
        assert_eq!(error, Error::Truncated { what: "challenge", needed: 0xffff_ffff, left: 1 });
    }

    #[test]
    fn strings_read_are_slices_of_the_source() {
        let bytes = Bytes::from_static(b"\x03abc");
        let text = ShortString::read(&mut Reader::new(&bytes), "name").unwrap();
        assert_eq!(text.as_bytes().as_ptr(), bytes[1..].as_ptr());
    }
}
