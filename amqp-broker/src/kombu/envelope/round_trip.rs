//! Any message comes back from its envelope, and no damaged envelope does harm.

use amqp_codec::{Array, Properties, ShortString, Table, Value};
use proptest::prelude::*;

use super::{claim::*, decode::*, encode::*, redelivered::*};
use crate::{backend::Message, kombu::priorities::PriorityOrder};

const NOW: f64 = 1_800_000_000.0;

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

/// Values that come back as they are. Others come back as the nearest of these.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::I32),
        any::<i64>().prop_filter("short ones", |n| i32::try_from(*n).is_err()).prop_map(Value::I64),
        prop::num::f64::NORMAL.prop_map(Value::F64),
        any::<String>().prop_map(|text| Value::LongString(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        (0u64..253_402_300_800).prop_map(Value::Timestamp),
        any::<(u8, i32)>().prop_map(|(scale, value)| Value::Decimal { scale, value }),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| {
                let mut array = Array::new();
                values.into_iter().for_each(|value| array.push(value).unwrap());
                Value::Array(array)
            }),
            tables(inner).prop_map(Value::Table),
        ]
    })
}

fn tables(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    prop::collection::btree_map("\\PC{0,12}", values, 0..4).prop_map(|entries| {
        let mut table = Table::new();
        entries.iter().for_each(|(name, value)| table.push(name, value.clone()).unwrap());
        table
    })
}

fn shorts() -> impl Strategy<Value = Option<ShortString>> {
    prop::option::of("\\PC{0,40}".prop_map(|text| short(&text)))
}

prop_compose! {
    fn messages()(
        (exchange, routing_key) in ("\\PC{0,20}", "\\PC{0,20}"),
        body in any::<Vec<u8>>(),
        texts in prop::array::uniform9(shorts()),
        expiration in prop::option::of(any::<u32>()),
        headers in tables(values()),
        (delivery_mode, priority) in (any::<Option<u8>>(), 0u8..=9),
        timestamp in any::<Option<u64>>(),
    ) -> Message {
        let [content_type, content_encoding, correlation_id, reply_to, message_id, kind, user_id, app_id, cluster_id] =
            texts;
        let expiration = expiration.map(|milliseconds| short(&milliseconds.to_string()));
        Message {
            exchange: short(&exchange),
            routing_key: short(&routing_key),
            body: body.into(),
            properties: Properties {
                content_type, content_encoding, correlation_id, reply_to, message_id, kind, user_id, app_id,
                cluster_id, expiration, delivery_mode, timestamp,
                priority: Some(priority),
                headers: Some(headers),
            },
        }
    }
}

/// As kombu writes it.
const ITEM: &str = r#"{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "retries": 0, "eta": null, "f": -1.5e3, "x": {"__type__": "bytes", "__value__": "ok"}}, "properties": {"correlation_id": "c", "delivery_mode": 2, "delivery_info": {"exchange": "demo", "routing_key": "\u00e9"}, "priority": 5, "body_encoding": "base64", "delivery_tag": "89aec436-a80d-4dfa-aea4-72f4b1f0d752"}}"#;

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was(message in messages(), as_text: bool, turned: bool) {
        let encoding = if as_text { BodyEncoding::Utf8 } else { BodyEncoding::Base64 };
        let order = if turned { PriorityOrder::HigherFirst } else { PriorityOrder::LowerFirst };
        let envelope = EnvelopeEncoder::new(encoding, order).encode(&message, NOW).unwrap();
        let read = decode(&envelope.json, order).unwrap();
        prop_assert_eq!(read.wire_priority, envelope.wire_priority);
        prop_assert_eq!(read.expires_at.is_some(), message.properties.expiration.is_some());
        prop_assert!(!read.redelivered);
        let marked = decode(&mark_redelivered(&envelope.json).unwrap(), order).unwrap();
        prop_assert!(marked.redelivered);
        prop_assert_eq!(&marked.message, &message);
        prop_assert_eq!(read.message, message);
    }

    #[test]
    fn damaged_envelopes_never_panic(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut item = ITEM.as_bytes().to_vec();
        let at = at.index(item.len());
        if cut { item.truncate(at) } else { item[at] = byte }
        let _ = decode(&item, PriorityOrder::LowerFirst);
        let _ = mark_redelivered(&item);
        let _ = decode_claim(&claim(&item, "q"));
    }
}
