//! Headers that brokers act on, and headers that cannot be read.

use amqp_client::{Message, Table};
use amqp_codec::{Array, HeaderTable, RawProperties, Value, ValueRef};

fn texts(texts: &[&str]) -> Array {
    let mut array = Array::new();
    texts.iter().for_each(|text| array.push(*text).unwrap());
    array
}

/// Headers that brokers act on, and one that they do not.
pub(super) fn acting(other: &str) -> Table {
    let mut death = Table::new();
    for (name, value) in
        [("count", Value::I64(3)), ("reason", "rejected".into()), ("queue", "elsewhere".into())]
    {
        death.insert(name, value).unwrap();
    }
    let mut deaths = Array::new();
    deaths.push(death).unwrap();
    let mut headers = Table::new();
    headers.insert("mine", 7).unwrap();
    headers.insert("CC", texts(&[other])).unwrap();
    headers.insert("x-delivery-count", 2).unwrap();
    headers.insert("x-death", deaths).unwrap();
    headers
}

/// The queues and counts of a message's deaths.
pub(super) fn deaths(headers: &Table) -> Vec<(String, i64)> {
    let Some(Value::Array(deaths)) = headers.get("x-death") else { return Vec::new() };
    let death = |death: Value| {
        let death = death.as_table().unwrap();
        let queue = death.get("queue").unwrap().as_str().unwrap().to_owned();
        (queue, death.get("count").unwrap().as_i64().unwrap())
    };
    deaths.iter().map(death).collect()
}

/// Tables nested deeper than can be decoded.
fn nested() -> HeaderTable {
    let nested = (0..40).fold(Vec::new(), |inner: Vec<u8>, _| {
        let length = u32::try_from(inner.len()).unwrap();
        [&b"\x04deepF"[..], &length.to_be_bytes(), &inner].concat()
    });
    HeaderTable::from_encoded(&nested).unwrap()
}

/// The message with nested headers.
pub(super) fn with_nested(message: &Message) -> Message {
    let mut raw = RawProperties::split(&message.properties().encode().unwrap()).unwrap();
    raw.set_headers(&nested()).unwrap();
    Message::with_encoded_properties(message.body().clone(), raw.join())
}

/// Checks that a message has the nested headers, and cannot be read.
pub(super) fn assert_nested(message: &amqp_client::Delivery) -> HeaderTable {
    assert!(message.properties().is_err());
    let headers = RawProperties::split(&message.encoded_properties()).unwrap().headers().unwrap();
    let Some(ValueRef::Table(deep)) = headers.get("deep") else { panic!("{headers:?}") };
    assert_eq!(Some(ValueRef::Table(deep)), nested().get("deep"));
    headers
}
