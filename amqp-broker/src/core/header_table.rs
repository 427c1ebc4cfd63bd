//! The headers of a message as the bytes they are, of which one is found, put in or taken out. What is nested in the others is
//! neither read nor written: it may be deeper than any [`Table`] is.

use amqp_codec::{Elements, Entries, Error, ShortString, Table, Value, ValueRef};
use bytes::Bytes;

/// Entries of a table, whose own form has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderTable {
    encoded: Vec<u8>,
}

impl HeaderTable {
    /// Of these bytes, without the length that goes before them.
    ///
    /// # Errors
    /// An entry that is malformed. What is nested in it may be.
    pub(crate) fn read(encoded: &[u8]) -> Result<Self, Error> {
        Entries::from_encoded(encoded).check()?;
        Ok(HeaderTable { encoded: encoded.to_vec() })
    }

    pub(crate) fn as_encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries::from_encoded(&self.encoded)
    }

    /// The first value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<ValueRef<'_>> {
        get(self.entries(), name)
    }

    /// Puts a value at the end, after taking out what had its name.
    ///
    /// # Errors
    /// One that nests too deep, or a name that is too long.
    pub(crate) fn insert(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        self.remove(name);
        let mut entry = Table::new();
        entry.push(name, value)?;
        self.encoded.extend_from_slice(entry.as_encoded());
        Ok(())
    }

    /// Puts tables in a row at the end, after taking out what had the name.
    ///
    /// # Errors
    /// More than the wire can hold.
    pub(crate) fn insert_tables(&mut self, name: &str, tables: &[HeaderTable]) -> Result<(), Error> {
        let mut row = Vec::new();
        for table in tables {
            sized(b'F', &table.encoded, &mut row)?;
        }
        self.remove(name);
        // Names are of this program.
        self.encoded.push(name.len() as u8);
        self.encoded.extend_from_slice(name.as_bytes());
        sized(b'A', &row, &mut self.encoded)
    }

    /// Takes out every entry of this name.
    pub(crate) fn remove(&mut self, name: &str) {
        if self.get(name).is_some() {
            let kept = raw_entries(&self.encoded).filter(|(other, _)| *other != name.as_bytes());
            self.encoded = kept.flat_map(|(_, entry)| entry).copied().collect();
        }
    }

    /// Puts the entries in the order of their names' bytes, those of equal names in the order they had: as RabbitMQ writes
    /// headers it has changed.
    pub(crate) fn sort(&mut self) {
        let mut entries: Vec<_> = raw_entries(&self.encoded).collect();
        if !entries.is_sorted_by_key(|(name, _)| *name) {
            entries.sort_by_key(|(name, _)| *name);
            self.encoded = entries.into_iter().flat_map(|(_, entry)| entry).copied().collect();
        }
    }
}

/// The first value of this name among entries.
pub(crate) fn get<'a>(mut entries: Entries<'a>, name: &str) -> Option<ValueRef<'a>> {
    entries.find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
}

/// The first value of this name among entries, as the bytes it is.
pub(crate) fn raw<'a>(entries: Entries<'a>, name: &str) -> Option<&'a [u8]> {
    let mut entries = raw_entries(entries.as_encoded());
    let (_, entry) = entries.find(|(other, _)| *other == name.as_bytes())?;
    entry.get(1 + name.len()..)
}

/// The texts among the elements of an array.
pub(crate) fn texts<'a>(elements: Elements<'a>) -> impl Iterator<Item = &'a [u8]> {
    elements.filter_map(|element| if let ValueRef::LongString(text) = element { Some(text) } else { None })
}

/// The headers as values. One that nests too deep to be one equals nothing that a binding can ask for, but is there.
///
/// # Errors
/// What is malformed.
pub(crate) fn values(encoded: &[u8]) -> Result<Vec<(ShortString, Value)>, Error> {
    match Table::from_encoded(Bytes::copy_from_slice(encoded)) {
        Ok(table) => Ok(table.iter().collect()),
        Err(Error::TooDeep { .. }) => raw_entries(encoded).map(value_of).collect(),
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

/// The entries' names, and the bytes of each with its name.
fn raw_entries(encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut entries = Entries::from_encoded(encoded);
    std::iter::from_fn(move || {
        let before = entries.as_encoded();
        let (name, _) = entries.next()?;
        let (entry, _) = before.split_at_checked(before.len() - entries.as_encoded().len())?;
        Some((name, entry))
    })
}

/// Appends a value that has a length.
fn sized(tag: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let too_long = |_| Error::TooLong { what: "headers", length: value.len() as u64, limit: u32::MAX.into() };
    let length = u32::try_from(value.len()).map_err(too_long)?;
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}
