use amqp_codec::{Array, Table, Value};
use bytes::Bytes;

use crate::allocation::bounded;

/// Entries of a table, and elements of an array: the bytes are kept, every value can be read, and what is built again from
/// the values has the same ones.
pub fn table(data: &[u8]) {
    let encoded = Bytes::copy_from_slice(data);
    if let Ok(table) = bounded(data.len(), || Table::from_encoded(encoded.clone())) {
        assert_eq!(table.as_encoded(), &encoded);
        let again = table_again(&table);
        assert!(again.is_none_or(|again| format!("{again:?}") == format!("{table:?}")));
        every_key_is_found_and_removed(&table);
    }
    if let Ok(array) = bounded(data.len(), || Array::from_encoded(encoded.clone())) {
        assert_eq!(array.as_encoded(), &encoded);
        let again = array_again(&array);
        assert!(again.is_none_or(|again| format!("{again:?}") == format!("{array:?}")));
    }
}

/// `None` when there is a name in it that is no text, which cannot be given to [`Table::push`].
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
