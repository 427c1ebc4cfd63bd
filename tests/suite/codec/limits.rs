//! Limits: nesting, short strings, claimed lengths.

use amqp_codec::{
    Array, EncodedProperties, Error, FieldKind, MAX_DEPTH, Method, MethodId, Properties, ShortString, Table,
    Value,
};
use bytes::{Bytes, BytesMut};

use super::reference::{self, Argument};

const DEEPEST: usize = MAX_DEPTH as usize;
const TOO_DEEP: Error = Error::TooDeep { limit: MAX_DEPTH };

/// Tables and arrays in turn, `{"": [{"": [..]}]}`, with `levels` in all; the outermost is a table.
fn nested_bytes(levels: usize) -> Bytes {
    let mut bytes = Vec::new();
    for level in (1..levels).rev() {
        let (name, kind) = if level % 2 == 1 { (&[0][..], b'A') } else { (&[][..], b'F') };
        // Level n + 1 contains level n: a table has a name before its value, an array does not.
        bytes = [name, &[kind], &reference::sized(&bytes)].concat();
    }
    bytes.into()
}

fn nested_table(levels: usize) -> Result<Table, Error> {
    let mut value = if levels.is_multiple_of(2) { Value::from(Array::new()) } else { Table::new().into() };
    for _ in 1..levels {
        value = match value {
            Value::Table(_) => {
                let mut array = Array::new();
                array.push(value)?;
                array.into()
            }
            _ => {
                let mut table = Table::new();
                table.push("", value)?;
                table.into()
            }
        };
    }
    Ok(value.as_table().unwrap().clone())
}

#[test]
fn a_table_of_the_deepest_nesting_is_read_and_built_alike() {
    for levels in [1, 2, 3, DEEPEST - 1, DEEPEST] {
        let read = Table::from_encoded(nested_bytes(levels)).unwrap();
        assert_eq!(nested_table(levels).unwrap(), read, "{levels} levels");
        assert_eq!(levels_of(&read), levels);
    }
}

#[test]
fn one_level_more_is_refused_when_read_and_when_built() {
    assert_eq!(Table::from_encoded(nested_bytes(DEEPEST + 1)), Err(TOO_DEEP));
    assert_eq!(nested_table(DEEPEST + 1), Err(TOO_DEEP));
    let mut array = Array::new();
    assert_eq!(array.push(nested_table(DEEPEST).unwrap()), Err(TOO_DEEP));
    assert!(array.is_empty());
}

#[test]
fn a_table_too_deep_is_refused_wherever_it_rides() {
    for levels in [DEEPEST, DEEPEST + 1] {
        let expected = if levels > DEEPEST { Err(TOO_DEEP) } else { Ok(()) };
        let table = nested_bytes(levels);
        for &id in MethodId::ALL {
            let fields = id.fields().unwrap();
            if fields.iter().any(|field| field.kind == FieldKind::Table) {
                let payload = reference::payload(id, &with_table(fields, &table));
                assert_eq!(Method::decode(&payload).map(|_| ()), expected, "{:?}", id.name());
            }
        }
        let headers_only = [&[0x20, 0][..], &reference::sized(&table)].concat();
        let properties = EncodedProperties::from_encoded(headers_only.into());
        assert_eq!(properties.decode().map(|_| ()), expected);
    }
}

#[test]
fn an_entry_beside_the_deepest_is_found_and_removed() {
    let mut table = nested_table(DEEPEST).unwrap();
    table.push("beside", 1).unwrap();
    assert_eq!(table.get("beside"), Some(Value::I32(1)));
    assert!(table.remove("beside"));
    assert_eq!(table, nested_table(DEEPEST).unwrap());
    assert!(table.remove(""));
    // Once emptied, it may be nested again.
    let mut outer = nested_table(DEEPEST - 1).unwrap();
    outer.push("emptied", table).unwrap();
}

#[test]
fn a_hundred_thousand_levels_do_not_reach_the_end_of_the_stack() {
    // The outermost comes first, and each level claims all that follows: 600 kB.
    let levels = 100_000u32;
    let mut bytes = BytesMut::new();
    for level in (0..levels).rev() {
        bytes.extend_from_slice(&[0, b'F']);
        bytes.extend_from_slice(&(level * 6).to_be_bytes());
    }
    assert_eq!(Table::from_encoded(bytes.freeze()), Err(TOO_DEEP));
}

#[test]
fn a_short_string_holds_255_bytes_and_not_one_more() {
    let longest = "é".repeat(127) + "x";
    let longer = "é".repeat(128);
    assert_eq!(ShortString::new("queue", &longest).unwrap().len(), 255);
    let too_long = |what| Error::ShortStringTooLong { what, length: 256 };
    assert_eq!(ShortString::new("queue", &longer), Err(too_long("queue")));
    assert_eq!(ShortString::from_bytes("queue", Bytes::from(longer.clone())), Err(too_long("queue")));
    assert_eq!(ShortString::try_from(&longer[..]), Err(too_long("short string")));
    assert_eq!(ShortString::try_from(longer.clone()), Err(too_long("short string")));

    let mut table = Table::new();
    table.insert(&longest, true).unwrap();
    let before = table.clone();
    assert_eq!(table.insert(&longer, true), Err(too_long("field name")));
    assert_eq!(table, before, "a refused entry leaves the table as it was");
    assert_eq!(table.get(&longest), Some(Value::Bool(true)));
    assert_eq!(table.get(&longer), None);
}

#[test]
fn every_length_that_claims_more_than_there_is_names_what_it_is_of() {
    for &id in MethodId::ALL {
        let fields = id.fields().unwrap();
        for (at, field) in fields.iter().enumerate() {
            let claim = match field.kind {
                FieldKind::ShortString => vec![0xff],
                FieldKind::LongString | FieldKind::Table => vec![0xff; 4],
                _ => continue,
            };
            let mut arguments = with_table(&fields[..at], b"");
            arguments.push(Argument::Octets(claim));
            let error = Method::decode(&reference::payload(id, &arguments)).unwrap_err();
            let Error::Truncated { what, needed, left: 0 } = error else { panic!("{error}") };
            assert_eq!(what, format!("{} {}", id.name().unwrap(), field.name));
            assert_eq!(needed, if field.kind == FieldKind::ShortString { 255 } else { 0xffff_ffff });
        }
    }
}

#[test]
fn properties_without_any_are_two_octets() {
    assert_eq!(Properties::default().encode().unwrap(), EncodedProperties::NONE);
    assert_eq!(EncodedProperties::NONE.decode().unwrap(), Properties::default());
}

/// Arguments for `fields`, all of them zero or empty except for the tables.
fn with_table(fields: &[amqp_codec::Field], table: &[u8]) -> Vec<Argument> {
    let argument = |field: &amqp_codec::Field| match field.kind {
        FieldKind::Bit => Argument::Bit(false),
        FieldKind::Octet | FieldKind::ShortString => Argument::Octets(vec![0]),
        FieldKind::Short => Argument::Octets(vec![0; 2]),
        FieldKind::Long | FieldKind::LongString => Argument::Octets(vec![0; 4]),
        FieldKind::LongLong => Argument::Octets(vec![0; 8]),
        FieldKind::Table => Argument::Octets(reference::sized(table)),
    };
    fields.iter().map(argument).collect()
}

fn levels_of(table: &Table) -> usize {
    fn levels_in(value: &Value) -> usize {
        let inner = match value {
            Value::Table(table) => table.iter().map(|(_, value)| levels_in(&value)).max(),
            Value::Array(array) => array.iter().map(|value| levels_in(&value)).max(),
            _ => return 0,
        };
        1 + inner.unwrap_or(0)
    }
    levels_in(&table.clone().into())
}
