//! Access to a message's headers, as encoded bytes and as values.

use amqp_codec::{Elements, Entries, Error, ShortString, Table, Value, ValueRef};
use bytes::Bytes;

/// The first value of this name among the entries.
pub(crate) fn get<'a>(mut entries: Entries<'a>, name: &str) -> Option<ValueRef<'a>> {
    entries.find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
}

/// The first value of this name among the entries, still encoded.
pub(crate) fn raw<'a>(entries: Entries<'a>, name: &str) -> Option<&'a [u8]> {
    let (_, entry) = entries.raw().find(|(other, _)| *other == name.as_bytes())?;
    entry.get(1 + name.len()..)
}

/// The texts among the elements of an array.
pub(crate) fn texts<'a>(elements: Elements<'a>) -> impl Iterator<Item = &'a [u8]> {
    elements.filter_map(|element| if let ValueRef::LongString(text) = element { Some(text) } else { None })
}

/// The headers as values. A value that nests too deep to be decoded is present, but equals nothing
/// that a binding can ask for.
///
/// # Errors
/// What is malformed.
pub(crate) fn values(encoded: &[u8]) -> Result<Vec<(ShortString, Value)>, Error> {
    match Table::from_encoded(Bytes::copy_from_slice(encoded)) {
        Ok(table) => Ok(table.iter().collect()),
        Err(Error::TooDeep { .. }) => Entries::from_encoded(encoded).raw().map(value_of).collect(),
        Err(error) => Err(error),
    }
}

fn value_of((name, entry): (&[u8], &[u8])) -> Result<(ShortString, Value), Error> {
    match Table::from_encoded(Bytes::copy_from_slice(entry)) {
        Ok(table) => Ok(table.iter().next().unwrap_or((ShortString::EMPTY, Value::Void))),
        Err(Error::TooDeep { .. }) => {
            let name = ShortString::from_bytes("header", Bytes::copy_from_slice(name))?;
            Ok((name, Value::F64(f64::NAN)))
        }
        Err(error) => Err(error),
    }
}
