//! Envelopes as real kombu writes them, and round trips.

use amqp_codec::{Array, Properties, ShortString, Table, Value};
use bytes::Bytes;

use super::{error::NotText, *};
use crate::{backend::Message, kombu::priorities::PriorityOrder};

const NOW: f64 = 1_800_000_000.0;

fn read(item: &str) -> Envelope {
    decode(item.as_bytes(), PriorityOrder::LowerFirst).unwrap()
}

fn refused(item: &str) -> String {
    decode(item.as_bytes(), PriorityOrder::LowerFirst).unwrap_err().to_string()
}

fn written(message: &Message) -> (EncodedEnvelope, serde_json::Value) {
    let mut encoder = EnvelopeEncoder::new(BodyEncoding::Base64, PriorityOrder::LowerFirst);
    let envelope = encoder.encode(message, NOW).unwrap();
    let json = serde_json::from_slice(&envelope.json).unwrap();
    (envelope, json)
}

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

/// What kombu 5.7 puts into the list `demo\x06\x163` for a message with all properties.
const KOMBU: &str = r#"{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"correlation_id": "c", "reply_to": "r", "message_id": "m", "timestamp": 1234567890, "type": "t", "user_id": "u", "app_id": "a", "cluster_id": "cl", "delivery_mode": 2, "expiration": "10000", "delivery_info": {"exchange": "demo", "routing_key": "demo"}, "priority": 5, "body_encoding": "base64", "delivery_tag": "89aec436-a80d-4dfa-aea4-72f4b1f0d752"}}"#;

fn kombus_message() -> Message {
    Message {
        exchange: short("demo"),
        routing_key: short("demo"),
        properties: Properties {
            content_type: Some(short("application/json")),
            content_encoding: Some(short("utf-8")),
            headers: Some(Table::new()),
            delivery_mode: Some(2),
            priority: Some(5),
            correlation_id: Some(short("c")),
            reply_to: Some(short("r")),
            expiration: Some(short("10000")),
            message_id: Some(short("m")),
            timestamp: Some(1_234_567_890),
            kind: Some(short("t")),
            user_id: Some(short("u")),
            app_id: Some(short("a")),
            cluster_id: Some(short("cl")),
        },
        body: Bytes::from_static(br#"{"a": 1}"#),
    }
}

#[test]
fn kombus_envelope_is_read() {
    let envelope = read(KOMBU);
    assert_eq!(envelope.message, kombus_message());
    assert_eq!(envelope.delivery_tag.as_deref(), Some("89aec436-a80d-4dfa-aea4-72f4b1f0d752"));
    assert_eq!((envelope.wire_priority, envelope.redelivered, envelope.expires_at), (5, false, None));
    assert_eq!(wire_priority(KOMBU.as_bytes()), 5);
}

#[test]
fn an_envelope_is_kombus_but_for_its_tag_and_the_time_of_its_end() {
    let (envelope, mut json) = written(&kombus_message());
    let mut expected: serde_json::Value = serde_json::from_str(KOMBU).unwrap();
    let properties = json["properties"].as_object_mut().unwrap();
    let tag = properties.remove("delivery_tag").unwrap();
    assert_eq!(tag.as_str().unwrap().as_bytes(), envelope.delivery_tag());
    assert_eq!(uuid::Uuid::parse_str(tag.as_str().unwrap()).unwrap().get_version_num(), 4);
    assert_eq!(properties.remove("expires_at"), Some(serde_json::json!(NOW + 10.0)));
    expected["properties"].as_object_mut().unwrap().remove("delivery_tag");
    assert_eq!(json, expected);
}

#[test]
fn what_a_message_lacks_is_written_as_kombu_does() {
    let (envelope, json) = written(&Message::default());
    let tag = str::from_utf8(envelope.delivery_tag()).unwrap();
    let expected = serde_json::json!({
        "body": "", "content-encoding": null, "content-type": null, "headers": {},
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": ""}, "priority": 0,
            "body_encoding": "base64", "delivery_tag": tag,
        },
    });
    assert_eq!(json, expected);
}

#[test]
fn each_envelope_and_each_copy_has_a_tag_of_its_own() {
    let mut encoder = EnvelopeEncoder::new(BodyEncoding::Base64, PriorityOrder::LowerFirst);
    let mut envelope = encoder.encode(&Message::default(), NOW).unwrap();
    let mut tags = std::collections::HashSet::from([envelope.delivery_tag().to_vec()]);
    for _ in 0..100 {
        encoder.retag(&mut envelope);
        assert!(tags.insert(envelope.delivery_tag().to_vec()));
    }
    let read = decode(&envelope.json, PriorityOrder::LowerFirst).unwrap();
    assert_eq!(read.delivery_tag.unwrap().as_bytes(), envelope.delivery_tag());
}

#[test]
fn kombus_headers_become_amqp_values() {
    // Written by kombu 5.7.
    let item = r#"{"body": "e30=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"b": {"__type__": "bytes", "__value__": "ok"}, "b2": {"__type__": "base64", "__value__": "/w=="}, "d": {"__type__": "datetime", "__value__": "2026-01-02T03:04:05.000006"}, "dz": {"__type__": "datetime", "__value__": "2026-01-02T03:04:05+00:00"}, "da": {"__type__": "date", "__value__": "2026-01-02"}, "t": {"__type__": "time", "__value__": "01:02:00"}, "dec": {"__type__": "decimal", "__value__": "3.14"}, "u": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005"}}, "u4": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005", "version": 4}}, "n": null, "f": 1.5, "i": 1180591620717411303424, "l": [1, "x", {"y": true}], "uni": "\u00e9\u2028\ud83d\ude00", "long": 4294967296, "other": {"__type__": "foo", "__value__": 1}}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "demo"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "d0f5cbec-340a-4f5a-9fd2-035758259a20"}}"#;
    let headers = read(item).message.properties.headers.unwrap();
    let uuid = Value::from("00000000-0000-0000-0000-000000000005");
    for (name, value) in [
        ("b", Value::Bytes(Bytes::from_static(b"ok"))),
        ("b2", Value::Bytes(Bytes::from_static(b"\xff"))),
        ("d", Value::from("2026-01-02T03:04:05.000006")),
        ("dz", Value::Timestamp(1_767_323_045)),
        ("da", Value::from("2026-01-02")),
        ("t", Value::from("01:02:00")),
        ("dec", Value::Decimal { scale: 2, value: 314 }),
        ("u", uuid.clone()),
        ("u4", uuid),
        ("n", Value::Void),
        ("f", Value::F64(1.5)),
        ("i", Value::F64(2f64.powi(70))),
        ("long", Value::I64(1 << 32)),
        ("uni", Value::from("é\u{2028}😀")),
    ] {
        assert_eq!(headers.get(name), Some(value), "{name}");
    }
    let mut other = Table::new();
    other.push("__type__", "foo").unwrap();
    other.push("__value__", 1).unwrap();
    assert_eq!(headers.get("other"), Some(Value::Table(other)));
    let (mut list, mut inner) = (Array::new(), Table::new());
    inner.push("y", true).unwrap();
    list.push(1).unwrap();
    list.push("x").unwrap();
    list.push(inner).unwrap();
    assert_eq!(headers.get("l"), Some(Value::Array(list)));
}

#[test]
fn numbers_that_only_python_writes_are_read_and_kept() {
    // The headers are as kombu 5.7 writes them.
    let item = r#"{"headers": {"nan": NaN, "inf": Infinity, "less": -Infinity, "text": "NaN"}, "properties": {"priority": 7}}"#;
    let headers = read(item).message.properties.headers.unwrap();
    assert!(matches!(headers.get("nan"), Some(Value::F64(n)) if n.is_nan()));
    assert_eq!(headers.get("inf"), Some(Value::F64(f64::INFINITY)));
    assert_eq!(headers.get("less"), Some(Value::F64(f64::NEG_INFINITY)));
    assert_eq!(headers.get("text"), Some(Value::from("NaN")));
    assert_eq!(wire_priority(item.as_bytes()), 7);
    let entry = claim(item.as_bytes(), "q");
    let read = decode_claim(&entry).unwrap();
    assert_eq!((read.envelope, read.routing_key.as_str()), (item.as_bytes(), "q"));
    let marked = String::from_utf8(mark_redelivered(item.as_bytes()).unwrap()).unwrap();
    assert_eq!(marked, item.replace(r#""NaN"}"#, r#""NaN","redelivered":true}"#));
    assert_eq!(refused(r#"{"properties":{},"body":"NaN","x":nan}"#), "expected ident at column 36");
}

#[test]
fn numbers_that_json_lacks_are_written_as_python_writes_them() {
    let item = br#"{"headers":{"a":NaN,"b":[Infinity,-Infinity]},"properties":{}}"#;
    let message = decode(item, PriorityOrder::LowerFirst).unwrap().message;
    let encoder = || EnvelopeEncoder::new(BodyEncoding::Base64, PriorityOrder::LowerFirst);
    let json = encoder().encode(&message, 0.0).unwrap().json;
    assert!(String::from_utf8(json).unwrap().contains(r#""headers":{"a":NaN,"b":[Infinity,-Infinity]}"#));
}

#[test]
fn what_is_read_can_be_marked_and_what_cannot_be_marked_is_not_read() {
    let twice = br#"{"headers":{"redelivered":1,"redelivered":false},"properties":{}}"#;
    assert!(decode(twice, PriorityOrder::LowerFirst).is_ok());
    let marked = mark_redelivered(twice).unwrap();
    assert_eq!(marked, br#"{"headers":{"redelivered":true,"redelivered":true},"properties":{}}"#);
    assert!(decode(b"{\"properties\":{},\"x\":\"\xff\"}", PriorityOrder::LowerFirst).is_err());
    assert!(decode(br#"{"properties":Infinity}"#, PriorityOrder::LowerFirst).is_err());
    assert_eq!(wire_priority(br#"{"properties":{"priority":Infinity}}"#), 0);
}

#[test]
fn amqp_headers_are_written_as_kombu_tags_them() {
    let mut headers = Table::new();
    for (name, value) in [
        ("text", Value::from("é\"\n")),
        ("latin", Value::LongString(Bytes::from_static(b"\xe9").into())),
        ("bytes", Value::Bytes(Bytes::from_static(b"ok"))),
        ("time", Value::Timestamp(1_767_323_045)),
        ("never", Value::Timestamp(u64::MAX)),
        ("decimal", Value::Decimal { scale: 3, value: -5 }),
        ("small", Value::I8(-1)),
        ("float", Value::F32(0.5)),
    ] {
        headers.push(name, value).unwrap();
    }
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    let (_, json) = written(&Message { properties, ..Message::default() });
    let expected = serde_json::json!({
        "text": "é\"\n",
        "latin": {"__type__": "base64", "__value__": "6Q=="},
        "bytes": {"__type__": "bytes", "__value__": "ok"},
        "time": {"__type__": "datetime", "__value__": "2026-01-02T03:04:05+00:00"},
        "never": u64::MAX,
        "decimal": {"__type__": "decimal", "__value__": "-0.005"},
        "small": -1, "float": 0.5,
    });
    assert_eq!(json["headers"], expected);
}

#[test]
fn a_body_as_text_is_read_and_written() {
    // Both written by kombu 5.7 with `body_encoding` utf-8.
    let text = r#"{"body": "{\"a\": \"\\u00e9\"}", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "demo"}, "priority": 0, "body_encoding": "utf-8", "delivery_tag": "734f1005-a8f5-4a78-8f82-d28adeb2b859"}}"#;
    assert_eq!(read(text).message.body, &br#"{"a": "\u00e9"}"#[..]);
    let bytes = r#"{"body": {"__type__": "base64", "__value__": "/w=="}, "content-encoding": "binary", "content-type": "application/data", "headers": {}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "demo"}, "priority": 0, "body_encoding": "utf-8", "delivery_tag": "13fffa42-8304-48dd-924c-5177cbbc2348"}}"#;
    assert_eq!(read(bytes).message.body, &b"\xff"[..]);

    let mut encoder = EnvelopeEncoder::new(BodyEncoding::Utf8, PriorityOrder::LowerFirst);
    for (body, encoding) in [(&b"{\"a\"}"[..], "utf-8"), (b"\xff", "base64")] {
        let message = Message { body: Bytes::from_static(body), ..Message::default() };
        let envelope = encoder.encode(&message, NOW).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&envelope.json).unwrap();
        assert_eq!(json["properties"]["body_encoding"], encoding);
        assert_eq!(decode(&envelope.json, PriorityOrder::LowerFirst).unwrap().message.body, body);
    }
}

#[test]
fn marks_of_redelivery_are_no_headers() {
    // Written by kombu 5.7 as it requeued the message.
    let item = r#"{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"redelivered": true}, "properties": {"correlation_id": "c", "delivery_mode": 2, "delivery_info": {"exchange": "demo", "routing_key": "demo", "redelivered": true}, "priority": 0, "body_encoding": "base64", "delivery_tag": "2a703c36-c8ed-4365-b69f-a3f64b0fb904"}}"#;
    let envelope = read(item);
    assert!(envelope.redelivered);
    assert_eq!(envelope.message.properties.headers, Some(Table::new()));
    assert!(read(r#"{"redelivered":true,"properties":{}}"#).redelivered);
    assert!(read(r#"{"headers":{"redelivered":true},"properties":{}}"#).redelivered);
    assert!(read(r#"{"properties":{"delivery_info":{"redelivered":true}}}"#).redelivered);
    assert!(!read(r#"{"headers":{"redelivered":false},"properties":{}}"#).redelivered);
}

#[test]
fn a_message_expires() {
    let envelope = read(r#"{"properties":{"expiration":"500","expires_at":1800000000.5}}"#);
    assert!(!envelope.is_expired(1_800_000_000.4));
    assert!(envelope.is_expired(1_800_000_000.5));
    assert!(!read(KOMBU).is_expired(f64::MAX));
}

#[test]
fn what_senders_differ_in_is_accepted() {
    for (item, tag) in [
        (r#"{"properties":{"delivery_tag":5}}"#, Some("5")),
        (r#"{"properties":{"delivery_tag":5.5}}"#, Some("5.5")),
        (r#"{"properties":{"delivery_tag":null}}"#, None),
        (r#"{"properties":{"delivery_tag":true}}"#, Some("true")),
        (r#"{"properties":{},"unknown":[{}],"headers":null,"body":null}"#, None),
    ] {
        assert_eq!(read(item).delivery_tag.as_deref(), tag, "{item}");
    }
    for (priority, expected) in
        [("\"7\"", 7), ("3.9", 3), ("-1", 0), ("12", 9), ("null", 0), ("[]", 0), ("1e300", 9)]
    {
        let item = format!(r#"{{"properties":{{"priority":{priority}}}}}"#);
        assert_eq!((read(&item).wire_priority, wire_priority(item.as_bytes())), (expected, expected));
    }
    let item = r#"{"content-type":5,"properties":{"correlation_id":7,"expiration":10,"timestamp":{"__type__":"datetime","__value__":"2026-01-02T03:04:05"},"delivery_info":{"exchange":null}}}"#;
    let message = read(item).message;
    assert_eq!(message.exchange, short(""));
    assert_eq!(message.properties.content_type, Some(short("5")));
    assert_eq!(message.properties.correlation_id, Some(short("7")));
    assert_eq!(message.properties.expiration, Some(short("10")));
    assert_eq!(message.properties.timestamp, Some(1_767_323_045));
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    for (item, text) in [
        ("", "EOF while parsing a value at column 0"),
        ("5", "invalid type: integer `5`, expected an object at column 1"),
        ("[{}]", "invalid type: sequence, expected an object at column 0"),
        ("{}", "`properties` is missing"),
        (r#"{"properties":null}"#, "`properties` is missing"),
        (r#"{"properties":{}"#, "EOF while parsing an object at column 16"),
        (r#"{"properties":{}} x"#, "trailing characters at column 19"),
        (r#"{"properties":{},"body":5}"#, "`body` is not text"),
        (r#"{"properties":{},"body":{"a":1}}"#, "`body` is not text"),
        (
            r#"{"properties":{"body_encoding":"base64"},"body":"a"}"#,
            "`body` is not Base64, as its body_encoding says",
        ),
        (
            r#"{"properties":{"body_encoding":"rot13"},"body":"a"}"#,
            "`body_encoding` is neither base64 nor utf-8",
        ),
        (r#"{"properties":{"delivery_tag":[]}}"#, "`delivery_tag` is a list or an object"),
        (r#"{"properties":{"correlation_id":{"a":1}}}"#, "`correlation_id` is a list or an object"),
        (
            r#"{"properties":{},"headers":"abc"}"#,
            "invalid type: string \"abc\", expected headers at column 5",
        ),
        (r#"{"properties":{},"headers":{"a":1e999}}"#, "number out of range at column 10"),
    ] {
        assert_eq!(refused(item), text, "{item}");
    }
    let long = "x".repeat(256);
    let item = format!(r#"{{"properties":{{"reply_to":"{long}"}}}}"#);
    assert_eq!(refused(&item), "`reply_to` is over 255 bytes");
    let item = format!(r#"{{"properties":{{}},"headers":{{"{long}":1}}}}"#);
    assert_eq!(refused(&item), "`headers` have a name over 255 bytes");
    assert!(decode(b"{\"properties\":{},\"body\":\"\xff\"}", PriorityOrder::LowerFirst).is_err());
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize, open: &str, close: &str| {
        let inner = [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat();
        [r#"{"properties":{},"headers":{"a":"#, &inner, "}}"].concat()
    };
    read(&nested(31, r#"{"a":"#, "}"));
    read(&nested(31, "[", "]"));
    for depth in [32, 100, 100_000] {
        assert_eq!(refused(&nested(depth, r#"{"a":"#, "}")), "`headers` nest too deep");
        assert_eq!(refused(&nested(depth, "[", "]")), "`headers` nest too deep");
    }
    for depth in [100, 100_000] {
        let lists = [&"[".repeat(depth), &"]".repeat(depth)[..]].concat();
        read(&format!(r#"{{"properties":{{"unknown":{lists}}},"unknown":{lists}}}"#));
        assert!(decode(lists.as_bytes(), PriorityOrder::LowerFirst).is_err());
    }
    let tagged = r#"{"__type__":"bytes","__value__":"#;
    let item =
        [r#"{"properties":{"type":"#, &tagged.repeat(100_000), "1", &"}".repeat(100_000), "}}"].concat();
    assert!(decode(item.as_bytes(), PriorityOrder::LowerFirst).is_err());
}

#[test]
fn text_that_is_none_is_refused_by_name() {
    let odd = ShortString::from_bytes("key", Bytes::from_static(b"\xff")).unwrap();
    let mut encoder = EnvelopeEncoder::new(BodyEncoding::Base64, PriorityOrder::LowerFirst);
    let message = Message { routing_key: odd.clone(), ..Message::default() };
    assert_eq!(encoder.encode(&message, NOW).unwrap_err(), NotText("routing key"));
    let properties = Properties { kind: Some(odd), ..Properties::default() };
    let message = Message { properties, ..Message::default() };
    assert_eq!(encoder.encode(&message, NOW).unwrap_err(), NotText("type"));
}

#[test]
fn priorities_are_turned_round_on_the_wire() {
    let mut encoder = EnvelopeEncoder::new(BodyEncoding::Base64, PriorityOrder::HigherFirst);
    for (priority, wire) in [(None, 9), (Some(9), 0), (Some(2), 7), (Some(200), 0)] {
        let properties = Properties { priority, ..Properties::default() };
        let envelope = encoder.encode(&Message { properties, ..Message::default() }, NOW).unwrap();
        assert_eq!(envelope.wire_priority, wire);
        let read = decode(&envelope.json, PriorityOrder::HigherFirst).unwrap();
        assert_eq!(read.wire_priority, wire);
        assert_eq!(read.message.properties.priority, Some(9 - wire));
    }
}
