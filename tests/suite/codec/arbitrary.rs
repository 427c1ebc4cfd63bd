//! Arbitrary values of every type of the codec.

use amqp_codec::{
    Array, ContentHeader, EncodedProperties, FieldKind, Frame, Method, MethodId, Properties, ShortString,
    Table, Value,
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::reference::{self, Argument};

/// A method as a payload, which except for tables is not written by the codec.
pub(super) fn payload() -> impl Strategy<Value = (MethodId, Bytes)> {
    select(MethodId::ALL).prop_flat_map(|id| payload_of(id).prop_map(move |payload| (id, payload)))
}

pub(super) fn payload_of(id: MethodId) -> impl Strategy<Value = Bytes> {
    let arguments: Vec<_> = id.fields().unwrap().iter().map(|field| argument(field.kind)).collect();
    arguments.prop_map(move |arguments| reference::payload(id, &arguments))
}

pub(super) fn method() -> impl Strategy<Value = Method> {
    payload().prop_map(|(_, payload)| Method::decode(&payload).unwrap())
}

fn argument(kind: FieldKind) -> BoxedStrategy<Argument> {
    let octets = |count| vec(any::<u8>(), count).prop_map(Argument::Octets).boxed();
    match kind {
        FieldKind::Bit => any::<bool>().prop_map(Argument::Bit).boxed(),
        FieldKind::Octet => octets(1),
        FieldKind::Short => octets(2),
        FieldKind::Long => octets(4),
        FieldKind::LongLong => octets(8),
        FieldKind::ShortString => bytes(255).prop_map(|text| reference::short_string(&text)).boxed(),
        FieldKind::LongString => bytes(600).prop_map(|text| reference::long_string(&text)).boxed(),
        FieldKind::Table => table().prop_map(|table| reference::long_string(table.as_encoded())).boxed(),
    }
}

pub(super) fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=most).prop_map(Bytes::from)
}

fn short_string() -> impl Strategy<Value = ShortString> {
    bytes(ShortString::MAX).prop_map(|text| ShortString::from_bytes("text", text).unwrap())
}

pub(super) fn entries() -> impl Strategy<Value = Vec<(String, Value)>> {
    vec((".{0,12}", value()), 0..8)
}

pub(super) fn table() -> impl Strategy<Value = Table> {
    entries().prop_map(table_of)
}

/// Any value but a NaN, which does not equal itself.
pub(super) fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|elements| array_of(elements).into()),
            vec((".{0,8}", inner), 0..6).prop_map(|entries| table_of(entries).into()),
        ]
    })
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<(u8, i32)>().prop_map(|(scale, value)| Value::Decimal { scale, value }),
        bytes(80).prop_map(|text| Value::LongString(text.into())),
        any::<u64>().prop_map(Value::Timestamp),
        bytes(80).prop_map(Value::Bytes),
        Just(Value::Void),
    ]
}

pub(super) fn table_of(entries: Vec<(String, Value)>) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        table.push(&key, value).unwrap();
    }
    table
}

fn array_of(elements: Vec<Value>) -> Array {
    let mut array = Array::new();
    for element in elements {
        array.push(element).unwrap();
    }
    array
}

pub(super) fn properties() -> impl Strategy<Value = Properties> {
    let texts = || vec(option::of(short_string()), 5);
    let numbers = (option::of(any::<u8>()), option::of(any::<u8>()), option::of(any::<u64>()));
    (texts(), texts(), numbers, option::of(table())).prop_map(|(mut some, mut more, numbers, headers)| {
        let (delivery_mode, priority, timestamp) = numbers;
        Properties {
            content_type: some.pop().unwrap(),
            content_encoding: some.pop().unwrap(),
            headers,
            delivery_mode,
            priority,
            correlation_id: some.pop().unwrap(),
            reply_to: some.pop().unwrap(),
            expiration: some.pop().unwrap(),
            message_id: more.pop().unwrap(),
            timestamp,
            kind: more.pop().unwrap(),
            user_id: more.pop().unwrap(),
            app_id: more.pop().unwrap(),
            cluster_id: more.pop().unwrap(),
        }
    })
}

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    let channel = any::<u16>;
    let encoded = prop_oneof![
        properties().prop_map(|properties| properties.encode().unwrap()),
        bytes(40).prop_map(EncodedProperties::from_encoded),
    ];
    let header = (any::<u16>(), any::<u64>(), encoded)
        .prop_map(|(class_id, body_size, properties)| ContentHeader { class_id, body_size, properties });
    prop_oneof![
        4 => (channel(), method()).prop_map(|(channel, method)| Frame::Method(channel, method)),
        2 => (channel(), header).prop_map(|(channel, header)| Frame::Header(channel, header)),
        2 => (channel(), bytes(300)).prop_map(|(channel, body)| Frame::Body(channel, body)),
        1 => Just(Frame::Heartbeat(0)),
    ]
}
