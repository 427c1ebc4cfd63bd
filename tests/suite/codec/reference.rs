//! Payloads of methods written by the letter of the specification, without the codec's writer.

use amqp_codec::{FieldKind, MethodId, Table, Value};
use bytes::Bytes;

/// An argument as octets, or as a bit: how many octets bits take depends on their neighbours.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    Bit(bool),
    Octets(Vec<u8>),
}

/// A method frame's payload: class, method, arguments.
pub(super) fn payload(id: MethodId, arguments: &[Argument]) -> Bytes {
    let mut payload = [id.class_id.to_be_bytes(), id.method_id.to_be_bytes()].concat();
    // These are the current octet of bits, and its next free bit (spec section 4.2.5.2).
    let mut bits = None;
    for argument in arguments {
        match argument {
            Argument::Octets(octets) => {
                payload.extend_from_slice(octets);
                bits = None;
            }
            Argument::Bit(bit) => {
                let (at, shift) = match bits {
                    Some((at, shift)) if shift < 8 => (at, shift),
                    _ => {
                        payload.push(0);
                        (payload.len() - 1, 0)
                    }
                };
                payload[at] |= u8::from(*bit) << shift;
                bits = Some((at, shift + 1));
            }
        }
    }
    payload.into()
}

/// The payload of a method with no argument zero or empty.
pub(super) fn sample_payload(id: MethodId) -> Bytes {
    let arguments: Vec<_> = id.fields().unwrap().iter().map(|field| sample(field.kind)).collect();
    payload(id, &arguments)
}

fn sample(kind: FieldKind) -> Argument {
    match kind {
        FieldKind::Bit => Argument::Bit(true),
        FieldKind::Octet => Argument::Octets(vec![1]),
        FieldKind::Short => Argument::Octets(vec![1, 2]),
        FieldKind::Long => Argument::Octets(vec![1, 2, 3, 4]),
        FieldKind::LongLong => Argument::Octets(vec![1, 2, 3, 4, 5, 6, 7, 8]),
        FieldKind::ShortString => short_string(b"short"),
        FieldKind::LongString => long_string(b"not so short"),
        FieldKind::Table => long_string(b"\x01kA\x00\x00\x00\x06VF\x00\x00\x00\x00"),
    }
}

pub(super) fn short_string(bytes: &[u8]) -> Argument {
    Argument::Octets([&[u8::try_from(bytes.len()).unwrap()], bytes].concat())
}

/// A long string or a table, which are encoded alike.
pub(super) fn long_string(bytes: &[u8]) -> Argument {
    Argument::Octets(sized(bytes))
}

pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// An entry of every type of value, byte for byte by RabbitMQ's table of types.
pub(super) fn sample_entries() -> Vec<(&'static str, &'static [u8], Value)> {
    let mut array = amqp_codec::Array::new();
    array.push(-2i8).unwrap();
    array.push("é").unwrap();
    let mut table = Table::new();
    table.push("k", Value::Void).unwrap();
    vec![
        ("bool", b"t\x01", true.into()),
        ("octet", b"b\xff", (-1i8).into()),
        ("unsigned octet", b"B\xff", 255u8.into()),
        ("short", b"s\xff\xfe", (-2i16).into()),
        ("unsigned short", b"u\xff\xfe", 0xfffeu16.into()),
        ("long", b"I\xff\xff\xff\xfd", (-3i32).into()),
        ("unsigned long", b"i\xff\xff\xff\xfd", 0xffff_fffdu32.into()),
        ("long long", b"l\xff\xff\xff\xff\xff\xff\xff\xfc", (-4i64).into()),
        ("float", b"f\x3f\xc0\x00\x00", 1.5f32.into()),
        ("double", b"d\xc0\x04\x00\x00\x00\x00\x00\x00", (-2.5f64).into()),
        ("decimal", b"D\x02\xff\xff\xfe\xc6", Value::Decimal { scale: 2, value: -314 }),
        ("long string", b"S\x00\x00\x00\x02hi", "hi".into()),
        ("array", b"A\x00\x00\x00\x09b\xfeS\x00\x00\x00\x02\xc3\xa9", array.into()),
        ("timestamp", b"T\x00\x00\x00\x00\x65\xe0\x71\xc0", Value::Timestamp(1_709_208_000)),
        ("table", b"F\x00\x00\x00\x03\x01kV", table.into()),
        ("bytes", b"x\x00\x00\x00\x02\x00\xff", Bytes::from_static(b"\0\xff").into()),
        ("void", b"V", Value::Void),
    ]
}

/// [`sample_entries`] as a table of the codec.
pub(super) fn sample_table() -> Table {
    let encoded: Vec<u8> = sample_entries()
        .iter()
        .flat_map(|(key, value, _)| [&[key.len() as u8], key.as_bytes(), value].concat())
        .collect();
    Table::from_encoded(encoded.into()).unwrap()
}
