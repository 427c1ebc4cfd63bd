//! A message's headers as bytes, in which single headers can be found, inserted and removed. Values
//! nested in the others are neither decoded nor rewritten, so they may nest deeper than a [`Table`]
//! may.

use crate::{
    error::Error,
    table::{
        Table, Value,
        entries::{Entries, ValueRef},
    },
    wire::text::check_short,
};

/// Entries of a table. Their own form has been checked, but not what is nested in them.
///
/// ```
/// use amqp_codec::{HeaderTable, ValueRef};
///
/// let mut nested = Vec::new();
/// for _ in 0..1000 {
///     let length = u32::try_from(nested.len()).unwrap();
///     nested = [&b"\x04deepF"[..], &length.to_be_bytes(), &nested].concat();
/// }
/// let mut headers = HeaderTable::from_encoded(&nested)?;
/// headers.insert("x-retries", 3)?;
/// assert_eq!(headers.get("x-retries").and_then(|value| value.as_i64()), Some(3));
/// assert!(matches!(headers.get("deep"), Some(ValueRef::Table(_))));
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderTable {
    encoded: Vec<u8>,
}

impl HeaderTable {
    /// A table without entries.
    pub const fn new() -> Self {
        HeaderTable { encoded: Vec::new() }
    }

    /// Takes the entries' bytes, without the length that precedes them on the wire.
    ///
    /// # Errors
    /// When an entry is malformed. A value nested in it is not checked.
    pub fn from_encoded(encoded: &[u8]) -> Result<Self, Error> {
        Entries::from_encoded(encoded).check()?;
        Ok(HeaderTable { encoded: encoded.to_vec() })
    }

    /// The entries' bytes, without the length that precedes them on the wire.
    pub fn as_encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Tells whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The entries in order, duplicates included.
    pub fn entries(&self) -> Entries<'_> {
        Entries::from_encoded(&self.encoded)
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<ValueRef<'_>> {
        self.entries().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    /// Appends a value, after removing the entries that had its name.
    ///
    /// # Errors
    /// A name over 255 bytes, or nesting over 32; nothing is changed then.
    pub fn insert(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        let mut entry = Table::new();
        entry.push(name, value)?;
        self.remove(name);
        self.encoded.extend_from_slice(entry.as_encoded());
        Ok(())
    }

    /// Appends an array of tables, after removing the entries that had its name.
    ///
    /// # Errors
    /// A name over 255 bytes, or more than the wire can hold; nothing is changed then.
    pub fn insert_tables(&mut self, name: &str, tables: &[HeaderTable]) -> Result<(), Error> {
        let mut row = Vec::new();
        for table in tables {
            sized(b'F', &table.encoded, &mut row)?;
        }
        let mut entry = Vec::with_capacity(1 + name.len() + 5 + row.len());
        put_name(name, &mut entry)?;
        sized(b'A', &row, &mut entry)?;
        self.remove(name);
        self.encoded.append(&mut entry);
        Ok(())
    }

    /// Moves the first value named `name` to the end under the name `new`. Other entries of either
    /// name are removed. Tells whether there was such a value.
    ///
    /// # Errors
    /// A name over 255 bytes; nothing is changed then.
    pub fn rename(&mut self, name: &str, new: &str) -> Result<bool, Error> {
        let Some((_, entry)) = self.entries().raw().find(|(other, _)| *other == name.as_bytes()) else {
            return Ok(false);
        };
        let value = entry.get(1 + name.len()..).unwrap_or_default();
        let mut renamed = Vec::with_capacity(1 + new.len() + value.len());
        put_name(new, &mut renamed)?;
        renamed.extend_from_slice(value);
        self.remove(name);
        self.remove(new);
        self.encoded.append(&mut renamed);
        Ok(true)
    }

    /// Removes every entry of this name; tells whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        let kept = self.entries().raw().filter(|(other, _)| *other != name.as_bytes());
        self.encoded = kept.flat_map(|(_, entry)| entry).copied().collect();
        true
    }

    /// Sorts the entries by the bytes of their names; entries of equal names keep their order.
    /// RabbitMQ writes headers in this order after changing them.
    pub fn sort(&mut self) {
        let mut entries: Vec<_> = self.entries().raw().collect();
        if !entries.is_sorted_by_key(|(name, _)| *name) {
            entries.sort_by_key(|(name, _)| *name);
            self.encoded = entries.into_iter().flat_map(|(_, entry)| entry).copied().collect();
        }
    }
}

fn put_name(name: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    check_short("field name", name.len())?;
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A table nested `levels` deep.
    fn nested(levels: usize) -> Vec<u8> {
        (0..levels).fold(Vec::new(), |inner, _| {
            let length = u32::try_from(inner.len()).unwrap();
            [&b"\x01dF"[..], &length.to_be_bytes(), &inner].concat()
        })
    }

    #[test]
    fn what_is_nested_too_deep_for_a_table_stays_as_it_is() {
        let deep = nested(40);
        assert!(Table::from_encoded(deep.clone().into()).is_err());
        let mut headers = HeaderTable::from_encoded(&deep).unwrap();
        headers.insert("a", 1).unwrap();
        headers.insert("a", "x").unwrap();
        assert_eq!(headers.get("a"), Some(ValueRef::LongString(b"x")));
        assert_eq!(headers.entries().count(), 2);
        assert!(headers.remove("a"));
        assert!(!headers.remove("a"));
        assert_eq!(headers.as_encoded(), deep);
        assert!(headers.rename("d", "another").unwrap());
        assert!(!headers.rename("d", "another").unwrap());
        let Some(ValueRef::Table(inner)) = headers.get("another") else { panic!("a table") };
        assert_eq!(inner.as_encoded(), nested(39));
    }

    #[test]
    fn what_is_renamed_takes_the_place_of_what_had_the_name() {
        let mut headers = HeaderTable::new();
        for (name, value) in [("a", 1), ("b", 2)] {
            headers.insert(name, value).unwrap();
        }
        assert_eq!(headers.rename("a", "b"), Ok(true));
        assert_eq!(headers.entries().collect::<Vec<_>>(), [(&b"b"[..], ValueRef::I32(1))]);
        assert!(headers.rename("b", &"x".repeat(256)).is_err());
        assert!(headers.insert(&"x".repeat(256), 1).is_err());
        assert!(headers.insert_tables(&"x".repeat(256), &[]).is_err());
        assert_eq!(headers.entries().count(), 1);
    }

    #[test]
    fn tables_in_a_row_are_an_array() {
        let mut inner = HeaderTable::new();
        inner.insert("count", 1).unwrap();
        let mut headers = HeaderTable::new();
        headers.insert_tables("x-death", &[inner.clone(), HeaderTable::new()]).unwrap();
        let Some(ValueRef::Array(mut row)) = headers.get("x-death") else { panic!("an array") };
        assert_eq!(row.next(), Some(ValueRef::Table(inner.entries())));
        assert_eq!(row.next(), Some(ValueRef::Table(Entries::default())));
        assert_eq!(row.next(), None);
        assert!(Table::from_encoded(headers.as_encoded().to_vec().into()).is_ok());
    }

    #[test]
    fn sorting_keeps_equal_names_in_their_order() {
        let table = [&b"\x01bt\x01"[..], b"\x01at\x01", b"\x01bt\x00"].concat();
        let mut headers = HeaderTable::from_encoded(&table).unwrap();
        headers.sort();
        let sorted = [&b"\x01at\x01"[..], b"\x01bt\x01", b"\x01bt\x00"].concat();
        assert_eq!(headers.as_encoded(), sorted);
    }
}
