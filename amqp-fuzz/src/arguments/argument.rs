//! One argument, and reading and writing all of a method's.

use std::ops::Range;

use amqp_codec::{Field, FieldKind, Method, MethodId, ShortString, Table};
use bytes::{BufMut, Bytes, BytesMut};

/// The value of an argument or a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Bit(bool),
    /// A number of one, two, four or eight octets.
    Number(u64),
    ShortString(ShortString),
    LongString(Bytes),
    Table(Table),
}

/// An argument as it lies in a payload.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) field: Field,
    pub(crate) value: Argument,
    /// The octets, with those of a length. A bit's are those that it shares.
    pub(crate) range: Range<usize>,
    /// The place of a bit within its octet.
    pub(crate) bit: u8,
}

impl Argument {
    /// Zero, or nothing.
    pub(crate) fn default_of(kind: FieldKind) -> Self {
        match kind {
            FieldKind::Bit => Argument::Bit(false),
            FieldKind::Octet | FieldKind::Short | FieldKind::Long | FieldKind::LongLong => {
                Argument::Number(0)
            }
            FieldKind::ShortString => Argument::ShortString(ShortString::EMPTY),
            FieldKind::LongString => Argument::LongString(Bytes::new()),
            FieldKind::Table => Argument::Table(Table::new()),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        match self {
            Argument::Bit(bit) => !bit,
            Argument::Number(number) => *number == 0,
            Argument::ShortString(text) => text.is_empty(),
            Argument::LongString(bytes) => bytes.is_empty(),
            Argument::Table(table) => table.is_empty(),
        }
    }

    /// Appends anything but a bit. `None` if it is of another kind, or does not fit.
    pub(crate) fn put(&self, kind: FieldKind, out: &mut BytesMut) -> Option<()> {
        match (kind, self) {
            (FieldKind::Octet, Argument::Number(number)) => out.put_u8(u8::try_from(*number).ok()?),
            (FieldKind::Short, Argument::Number(number)) => out.put_u16(u16::try_from(*number).ok()?),
            (FieldKind::Long, Argument::Number(number)) => out.put_u32(u32::try_from(*number).ok()?),
            (FieldKind::LongLong, Argument::Number(number)) => out.put_u64(*number),
            (FieldKind::ShortString, Argument::ShortString(text)) => {
                out.put_u8(text.len() as u8);
                out.put_slice(text.as_bytes());
            }
            (FieldKind::LongString, Argument::LongString(bytes)) => {
                out.put_u32(u32::try_from(bytes.len()).ok()?);
                out.put_slice(bytes);
            }
            (FieldKind::Table, Argument::Table(table)) => {
                let entries = table.as_encoded();
                out.put_u32(u32::try_from(entries.len()).ok()?);
                out.put_slice(entries);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Reads the arguments of a method frame's payload as far as they are well-formed.
pub(crate) fn read(payload: &Bytes) -> Option<(MethodId, Vec<Found>)> {
    let id = MethodId::peek(payload)?;
    let mut reader = Reader { payload, at: 4, bits: 0 };
    let mut found = Vec::new();
    for field in id.fields()? {
        match reader.next(*field) {
            Some(argument) => found.push(argument),
            None => break,
        }
    }
    Some((id, found))
}

/// Makes a method of its arguments, in the order of the specification; those that are left out are
/// zero or empty.
pub(crate) fn method(id: MethodId, arguments: &[(&str, Argument)]) -> Option<Method> {
    let mut payload = BytesMut::from(&id.octets()[..]);
    let mut bits = Bits::default();
    for field in id.fields()? {
        let given = arguments.iter().find(|(name, _)| *name == field.name).map(|(_, value)| value.clone());
        match given.unwrap_or_else(|| Argument::default_of(field.kind)) {
            Argument::Bit(bit) => bits.push(bit, &mut payload),
            value => {
                bits.flush(&mut payload);
                value.put(field.kind, &mut payload)?;
            }
        }
    }
    bits.flush(&mut payload);
    Method::decode(&payload.freeze()).ok()
}

/// Bits that gather into an octet (spec section 4.2.5.2).
#[derive(Default)]
struct Bits {
    octet: u8,
    used: u8,
}

impl Bits {
    fn push(&mut self, bit: bool, out: &mut BytesMut) {
        if self.used == 8 {
            self.flush(out);
        }
        self.octet |= u8::from(bit) << self.used;
        self.used += 1;
    }

    fn flush(&mut self, out: &mut BytesMut) {
        if self.used > 0 {
            out.put_u8(self.octet);
            *self = Bits::default();
        }
    }
}

/// Reads fields off a payload.
pub(crate) struct Reader<'a> {
    pub(crate) payload: &'a Bytes,
    pub(crate) at: usize,
    /// How many bits of the last octet are read; 0 when the next bit begins an octet.
    pub(crate) bits: u8,
}

impl Reader<'_> {
    pub(crate) fn next(&mut self, field: Field) -> Option<Found> {
        if field.kind == FieldKind::Bit {
            return self.bit(field);
        }
        self.bits = 0;
        let start = self.at;
        let value = match field.kind {
            FieldKind::Bit | FieldKind::Octet => Argument::Number(self.number(1)?),
            FieldKind::Short => Argument::Number(self.number(2)?),
            FieldKind::Long => Argument::Number(self.number(4)?),
            FieldKind::LongLong => Argument::Number(self.number(8)?),
            FieldKind::ShortString => {
                let length = self.number(1)? as usize;
                Argument::ShortString(ShortString::from_bytes(field.name, self.bytes(length)?).ok()?)
            }
            FieldKind::LongString => {
                let length = self.number(4)? as usize;
                Argument::LongString(self.bytes(length)?)
            }
            FieldKind::Table => {
                let length = self.number(4)? as usize;
                Argument::Table(Table::from_encoded(self.bytes(length)?).ok()?)
            }
        };
        Some(Found { field, value, range: start..self.at, bit: 0 })
    }

    fn bit(&mut self, field: Field) -> Option<Found> {
        if self.bits == 0 || self.bits == 8 {
            self.number(1)?;
            self.bits = 0;
        }
        let octet = self.at.checked_sub(1)?;
        let (bit, value) = (self.bits, self.payload.get(octet)? >> self.bits & 1 == 1);
        self.bits += 1;
        Some(Found { field, value: Argument::Bit(value), range: octet..self.at, bit })
    }

    pub(crate) fn number(&mut self, octets: usize) -> Option<u64> {
        let bytes = self.bytes(octets)?;
        Some(bytes.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
    }

    fn bytes(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length)?;
        self.payload.get(self.at..end)?;
        let bytes = self.payload.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choices;

    #[test]
    fn a_method_made_of_its_arguments_is_the_method() {
        for seed in 0..2000 {
            let Some(method) = Choices::from_seed(seed).arbitrary::<Method>(300) else { continue };
            let mut payload = BytesMut::new();
            method.encode(&mut payload).unwrap();
            let (id, found) = read(&payload.freeze()).unwrap();
            assert_eq!(found.len(), id.fields().unwrap().len());
            let arguments: Vec<_> = found.into_iter().map(|found| (found.field.name, found.value)).collect();
            assert_eq!(self::method(id, &arguments), Some(method));
        }
    }
}
