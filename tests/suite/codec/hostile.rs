//! Malformed bytes are errors, never panics.

use amqp_codec::{
    Arguments as _, EncodedProperties, Error, Frame, Method, MethodId, RawFrame, Table,
    borrowed::{Ack, Deliver, Nack, Publish, Reject},
    codec::FrameCodec,
    method::basic,
    parse::{complete, streaming},
};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::{
    arbitrary,
    reference::{sample_entries, sample_payload, sample_table},
};

const FRAME_MAX: usize = 4096;

/// The methods that can be decoded without the table of methods.
const BORROWED: [MethodId; 5] =
    [basic::Publish::ID, basic::Deliver::ID, basic::Ack::ID, basic::Nack::ID, basic::Reject::ID];

#[test]
fn every_truncation_of_every_method_is_an_error() {
    for &id in MethodId::ALL {
        let payload = sample_payload(id);
        for end in 0..payload.len() {
            let error = Method::decode(&payload.slice(..end)).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{:?} cut at {end}: {error}", id.name());
        }
    }
}

#[test]
fn a_byte_after_any_method_is_an_error_that_names_the_method() {
    for &id in MethodId::ALL {
        let longer = [&sample_payload(id)[..], &[0]].concat();
        let error = Method::decode(&longer.into()).unwrap_err();
        assert_eq!(error, Error::TrailingBytes { what: id.name().unwrap(), count: 1 });
    }
}

#[test]
fn every_number_that_is_no_method_is_named_in_the_error() {
    for class_id in 0..=100 {
        for method_id in 0..=130 {
            let id = MethodId { class_id, method_id };
            if !MethodId::ALL.contains(&id) {
                let numbers = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
                let error = Method::decode(&numbers.into()).unwrap_err();
                assert_eq!(error, Error::UnknownMethod { class_id, method_id });
            }
        }
    }
}

#[test]
fn no_single_byte_mutation_of_a_frame_panics() {
    for frame in sample_frames() {
        let mut bytes = frame.to_vec();
        for at in 0..bytes.len() {
            let original = bytes[at];
            for octet in (0..=u8::MAX).filter(|octet| *octet != original) {
                bytes[at] = octet;
                try_mutant(&bytes);
            }
            bytes[at] = original;
        }
    }
}

#[test]
fn a_table_may_end_only_where_an_entry_does() {
    let table = sample_table();
    let mut ends = vec![0];
    for (key, value, _) in sample_entries() {
        ends.push(ends.last().unwrap() + 1 + key.len() + value.len());
    }
    assert_eq!(ends.last(), Some(&table.as_encoded().len()));
    for end in 0..=table.as_encoded().len() {
        match Table::from_encoded(table.as_encoded().slice(..end)) {
            Ok(_) => assert!(ends.contains(&end), "cut at {end} was read"),
            Err(error) => {
                assert!(!ends.contains(&end), "cut at {end}: {error}");
                assert!(matches!(error, Error::Truncated { .. }), "cut at {end}: {error}");
            }
        }
    }
}

#[test]
fn every_truncation_of_properties_is_an_error_and_so_is_a_byte_more() {
    let encoded = sample_properties();
    assert!(encoded.decode().is_ok());
    let bytes = encoded.as_encoded();
    for end in 0..bytes.len() {
        let error = EncodedProperties::from_encoded(bytes.slice(..end)).decode().unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "cut at {end}: {error}");
    }
    let longer = [bytes, &[0][..]].concat();
    let error = EncodedProperties::from_encoded(longer.into()).decode().unwrap_err();
    assert_eq!(error, Error::TrailingBytes { what: "properties", count: 1 });
}

#[test]
fn a_type_that_nobody_defined_is_named() {
    let known: Vec<u8> = sample_entries().iter().map(|(_, value, _)| value[0]).chain([b'L']).collect();
    for octet in (0..=u8::MAX).filter(|octet| !known.contains(octet)) {
        let entry = [1, b'k', octet, 0, 0, 0, 0, 0, 0, 0, 0];
        let error = Table::from_encoded(Bytes::copy_from_slice(&entry)).unwrap_err();
        assert_eq!(error, Error::UnknownFieldType(octet));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in arbitrary::bytes(300)) {
        try_payload(&bytes);
        try_frame(&bytes);
    }

    #[test]
    fn no_bytes_panic_behind_the_number_of_a_method(
        id in proptest::sample::select(MethodId::ALL),
        arguments in arbitrary::bytes(200),
    ) {
        let numbers = [id.class_id.to_be_bytes(), id.method_id.to_be_bytes()].concat();
        try_payload(&[&numbers, &arguments[..]].concat().into());
    }

    #[test]
    fn borrowed_methods_refuse_what_the_table_refuses(
        id in proptest::sample::select(&BORROWED[..]),
        // The octets are small, so that lengths often fit.
        arguments in proptest::collection::vec(0..4u8, 0..40),
    ) {
        let payload = Bytes::from([&id.octets()[..], &arguments].concat());
        let owned = Method::decode(&payload).map(|_| true);
        let borrowed = match id {
            basic::Publish::ID => Publish::decode(&payload).map(|read| read.is_some()),
            basic::Deliver::ID => Deliver::decode(&payload).map(|read| read.is_some()),
            basic::Ack::ID => Ack::decode(&payload).map(|read| read.is_some()),
            basic::Nack::ID => Nack::decode(&payload).map(|read| read.is_some()),
            _ => Reject::decode(&payload).map(|read| read.is_some()),
        };
        prop_assert_eq!(borrowed, owned);
    }
}

/// Decodes `bytes` as a frame, reads everything in it, and writes it again.
fn try_mutant(bytes: &[u8]) {
    let Ok(Some(raw)) = RawFrame::split_from(&mut BytesMut::from(bytes), FRAME_MAX) else { return };
    let Ok(frame) = raw.decode() else { return };
    match &frame {
        Frame::Header(_, header) => try_properties(&header.properties),
        other => look_into(other),
    }
    frame.encode(FRAME_MAX, &mut BytesMut::new()).unwrap();
}

/// Decodes `bytes` as a frame, and as everything that a frame can contain; what is read must be
/// writable.
fn try_frame(bytes: &[u8]) {
    let mut codec = FrameCodec::new(FRAME_MAX);
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(raw)) = RawFrame::split_from(&mut buffer, FRAME_MAX) {
        try_payload(&raw.payload);
        if let Ok(frame) = raw.decode() {
            if let Frame::Header(_, header) = &frame {
                try_properties(&header.properties);
            }
            let mut again = BytesMut::new();
            codec.encode(frame.clone(), &mut again).unwrap();
            assert_eq!(codec.decode(&mut again).unwrap(), Some(frame));
        }
    }
}

fn try_payload(payload: &Bytes) {
    let _ = Publish::decode(payload);
    let _ = (Deliver::decode(payload), Ack::decode(payload), Nack::decode(payload), Reject::decode(payload));
    for parse in [complete::method, streaming::method] {
        if let Ok((rest, method)) = parse(payload) {
            let whole = payload.slice(..payload.len() - rest.len());
            assert_eq!(method.decode(), Method::decode(&whole));
        }
    }
    for parse in [complete::content_header, streaming::content_header] {
        let _ = parse(payload);
    }
    for parse in [complete::table, streaming::table] {
        if let Ok((_, entries)) = parse(payload) {
            assert_eq!(entries.check(), Ok(()));
        }
    }
    if let Ok(method) = Method::decode(payload) {
        let mut again = BytesMut::new();
        method.encode(&mut again).unwrap();
        assert_eq!(Method::decode(&again.freeze()), Ok(method.clone()));
        look_into(&method);
    }
    try_properties(&EncodedProperties::from_encoded(payload.clone()));
    if let Ok(table) = Table::from_encoded(payload.clone()) {
        look_into(&table);
    }
}

fn try_properties(encoded: &EncodedProperties) {
    if let Ok(properties) = encoded.decode() {
        let again = properties.encode().unwrap();
        assert_eq!(&again, encoded, "absent or present, each property has one spelling");
        look_into(&properties);
    }
}

/// Reads every value, at every depth.
fn look_into(value: &impl std::fmt::Debug) {
    assert!(!format!("{value:?}").is_empty());
}

/// A frame of every method, a content header, a body and a heartbeat.
fn sample_frames() -> Vec<BytesMut> {
    let header = amqp_codec::ContentHeader { class_id: 60, body_size: 3, properties: sample_properties() };
    let contents =
        [Frame::Header(1, header), Frame::Body(1, Bytes::from_static(b"abc")), Frame::Heartbeat(0)];
    MethodId::ALL
        .iter()
        .map(|&id| Frame::Method(1, Method::decode(&sample_payload(id)).unwrap()))
        .chain(contents)
        .map(|frame| {
            let mut bytes = BytesMut::new();
            frame.encode(FRAME_MAX, &mut bytes).unwrap();
            bytes
        })
        .collect()
}

/// All 14 properties.
fn sample_properties() -> EncodedProperties {
    let text = |text: &'static str| Some(amqp_codec::ShortString::from_static(text));
    let properties = amqp_codec::Properties {
        content_type: text("text/plain"),
        content_encoding: text("utf-8"),
        headers: Some(sample_table()),
        delivery_mode: Some(amqp_codec::PERSISTENT),
        priority: Some(9),
        correlation_id: text("c"),
        reply_to: text("r"),
        expiration: text("60000"),
        message_id: text("m"),
        timestamp: Some(1_709_208_000),
        kind: text("k"),
        user_id: text("guest"),
        app_id: text("a"),
        cluster_id: text("cluster"),
    };
    properties.encode().unwrap()
}
