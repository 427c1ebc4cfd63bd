//! Tables: what is put in comes out, and what cannot be encoded is refused.

use super::*;

#[test]
fn order_and_duplicates_stay_and_get_finds_the_first() {
    let mut table = Table::new();
    table.push("b", 1).unwrap();
    table.push("a", "x").unwrap();
    table.push("b", 2).unwrap();
    let names: Vec<_> = table.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["b", "a", "b"]);
    assert_eq!(table.get("b"), Some(Value::I32(1)));
    table.insert("b", 3).unwrap();
    assert_eq!(table.iter().count(), 2);
    assert_eq!(table.get("b"), Some(Value::I32(3)));
}

#[test]
fn sorting_keeps_equal_keys_in_their_order() {
    let mut table = Table::new();
    for (key, value) in [("b", 1), ("a", 2), ("b", 3), ("", 4)] {
        table.push(key, value).unwrap();
    }
    table.sort();
    let entries: Vec<_> = table.iter().map(|(name, value)| (name.to_string(), value)).collect();
    let expected = [("", 4), ("a", 2), ("b", 1), ("b", 3)];
    assert_eq!(entries, expected.map(|(name, value)| (name.to_owned(), Value::I32(value))));
}

#[test]
fn nesting_is_capped_when_built() {
    let mut table = Table::new();
    for _ in 1..MAX_DEPTH {
        let mut outer = Table::new();
        outer.push("t", table).unwrap();
        table = outer;
    }
    assert_eq!(table.depth(), MAX_DEPTH);
    assert!(Table::from_encoded(table.as_encoded().clone()).is_ok());
    let mut outer = Table::new();
    let error = outer.push("t", table).unwrap_err();
    assert_eq!(error, Error::TooDeep { limit: MAX_DEPTH });
    assert!(outer.is_empty());
}

#[test]
fn a_table_whose_deepest_entry_was_removed_may_be_nested_again() {
    let mut inner = Table::new();
    inner.insert("t", Table::new()).unwrap();
    let mut table = Table::new();
    table.insert("deep", inner).unwrap();
    table.insert("flat", Table::new()).unwrap();
    assert_eq!(table.depth(), 3);
    table.remove("deep");
    assert_eq!(table.depth(), 2);
    table.insert("flat", 1).unwrap();
    assert_eq!(table.depth(), 1);
}

#[test]
fn nesting_is_capped_when_read() {
    // Each level: name "", type 'F', length of the rest.
    let mut bytes = Vec::new();
    for _ in 0..100_000 {
        let length = bytes.len() as u32;
        let mut outer = vec![0, b'F'];
        outer.extend_from_slice(&length.to_be_bytes());
        if bytes.len() < 4096 {
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
    }
    let error = Table::from_encoded(bytes.into()).unwrap_err();
    assert_eq!(error, Error::TooDeep { limit: MAX_DEPTH });
}

#[test]
fn a_shared_table_is_not_changed_by_inserting_into_its_clone() {
    let mut table = Table::new();
    table.insert("a", 1).unwrap();
    let mut other = table.clone();
    other.insert("b", 2).unwrap();
    assert_eq!(table.iter().count(), 1);
    assert_eq!(other.iter().count(), 2);
}

#[test]
fn both_spellings_of_a_long_long_are_read_and_kept() {
    let encoded = Bytes::from_static(b"\x01aL\xff\xff\xff\xff\xff\xff\xff\xff\x01bl\0\0\0\0\0\0\0\x07");
    let table = Table::from_encoded(encoded.clone()).unwrap();
    assert_eq!(table.get("a"), Some(Value::I64(-1)));
    assert_eq!(table.get("b"), Some(Value::I64(7)));
    assert_eq!(table.as_encoded(), &encoded);
}

#[test]
fn text_is_inserted_as_the_same_octets_as_a_value_and_a_wrong_key_changes_nothing() {
    let (mut by_value, mut by_text) = (Table::new(), Table::new());
    for (key, text) in [("a", "x"), ("b", ""), ("a", "ä longer one"), ("", "no name")] {
        by_value.insert(key, text).unwrap();
        by_text.insert_text(key, text).unwrap();
        assert_eq!(by_text, by_value);
        assert_eq!(by_text.as_encoded(), by_value.as_encoded());
    }
    let before = by_text.clone();
    assert!(by_text.insert_text(&"k".repeat(256), "x").is_err());
    assert_eq!(by_text.as_encoded(), before.as_encoded());
}
