use amqp_codec::{Array, Elements, Entries, Error, MAX_DEPTH, Table, Value, ValueRef};
use bytes::Bytes;

use crate::allocation::bounded;

/// Reads the entries of a table and the elements of an array. The bytes are kept, every value can
/// be read, and a table rebuilt from the values has the same values.
pub fn table(data: &[u8]) {
    unchecked_entries_are_read_to_the_first_that_is_malformed(data);
    let encoded = Bytes::copy_from_slice(data);
    if let Ok(table) = bounded(data.len(), || Table::from_encoded(encoded.clone())) {
        assert_eq!(table.as_encoded(), &encoded);
        let again = table_again(&table);
        assert!(again.is_none_or(|again| format!("{again:?}") == format!("{table:?}")));
        assert_eq!(table.entries().count(), table.iter().count());
        assert!(same(ValueRef::Table(table.entries()), &table.clone().into()));
        every_key_is_found_and_removed(&table);
        too_deep_is_refused(table);
    }
    if let Ok(array) = bounded(data.len(), || Array::from_encoded(encoded.clone())) {
        assert_eq!(array.as_encoded(), &encoded);
        let again = array_again(&array);
        assert!(again.is_none_or(|again| format!("{again:?}") == format!("{array:?}")));
        assert_eq!(array.elements().count(), array.iter().count());
        assert!(same(ValueRef::Array(array.elements()), &array.clone().into()));
    }
}

fn unchecked_entries_are_read_to_the_first_that_is_malformed(data: &[u8]) {
    let (mut entries, mut elements) = (Entries::from_encoded(data), Elements::from_encoded(data));
    let are_whole = (entries.check().is_ok(), elements.check().is_ok());
    while entries.next().is_some() {}
    while elements.next().is_some() {}
    assert_eq!(are_whole, (entries.as_encoded().is_empty(), elements.as_encoded().is_empty()));
}

/// Checks that a borrowed value equals the owned one, at every depth.
fn same(borrowed: ValueRef<'_>, owned: &Value) -> bool {
    match (borrowed, owned) {
        (ValueRef::Table(entries), Value::Table(table)) => {
            entries.as_encoded() == table.as_encoded()
                && entries.zip(table).all(|((borrowed_key, borrowed), (key, owned))| {
                    borrowed_key == key.as_bytes() && same(borrowed, &owned)
                })
        }
        (ValueRef::Array(elements), Value::Array(array)) => {
            elements.as_encoded() == array.as_encoded()
                && elements.zip(array).all(|(borrowed, owned)| same(borrowed, &owned))
        }
        (ValueRef::LongString(borrowed), Value::LongString(owned)) => borrowed == owned.as_bytes(),
        (ValueRef::Bytes(borrowed), Value::Bytes(owned)) => borrowed == owned,
        (borrowed, owned) => format!("{borrowed:?}") == format!("{owned:?}"),
    }
}

/// `None` when a name is not text: [`Table::push`] takes only text.
fn table_again(table: &Table) -> Option<Table> {
    let mut again = Table::new();
    for (key, value) in table {
        again.push(key.as_str().ok()?, value_again(value)?).expect("it was not too deep to be read");
    }
    Some(again)
}

fn array_again(array: &Array) -> Option<Array> {
    let mut again = Array::new();
    for value in array {
        again.push(value_again(value)?).expect("it was not too deep to be read");
    }
    Some(again)
}

fn value_again(value: Value) -> Option<Value> {
    Some(match value {
        Value::Array(array) => array_again(&array)?.into(),
        Value::Table(table) => table_again(&table)?.into(),
        other => other,
    })
}

/// Checks that a table in as many tables and arrays as may nest is refused as one level too deep,
/// both by reading and by building.
fn too_deep_is_refused(table: Table) {
    let mut bytes = table.as_encoded().to_vec();
    let mut built = Some(Value::from(table));
    for level in 0..MAX_DEPTH {
        // Arrays and tables alternate; the outermost is a table.
        let odd = level % 2 == 1;
        let length = (bytes.len() as u32).to_be_bytes();
        let (name, kind) = if odd { (&[0][..], b'A') } else { (&[][..], b'F') };
        bytes = [name, &[kind], &length, &bytes].concat();
        built = built.and_then(|inner| if odd { table_of(inner) } else { array_of(inner) });
    }
    assert_eq!(Table::from_encoded(bytes.into()), Err(Error::TooDeep { limit: MAX_DEPTH }));
    assert!(built.is_none(), "built too deep");
}

fn table_of(value: Value) -> Option<Value> {
    let mut table = Table::new();
    table.push("", value).ok().map(|()| table.into())
}

fn array_of(value: Value) -> Option<Value> {
    let mut array = Array::new();
    array.push(value).ok().map(|()| array.into())
}

fn every_key_is_found_and_removed(table: &Table) {
    let mut left = table.clone();
    for (key, _) in table {
        if let Ok(key) = key.as_str() {
            assert!(table.get(key).is_some());
            left.remove(key);
            assert!(!left.contains_key(key));
        }
    }
    assert!(left.iter().all(|(key, _)| key.as_str().is_err()));
}
