//! Checks that all codecs write and read the same in the timed jobs, and that no body is copied.

use std::iter;

use amqp_codec::{FRAME_OVERHEAD, Frame, FrameKind, RawFrame};
use benches::codec::{amq_protocol, amqp_serde, ours, sample};
use bytes::BytesMut;

#[test]
fn everyone_writes_the_same_publish() {
    let expected = sample::publish();
    let mut out = BytesMut::new();
    ours::encode(&ours::properties(), &mut out);
    assert_eq!(out, expected);
    out.clear();
    ours::encode_method(&ours::publish(), &mut out);
    assert_eq!(out, expected);
    out.clear();
    amqp_serde::encode(&amqp_serde::publish(), &mut out);
    assert_eq!(out, expected);
    assert_eq!(amq_protocol::encode(&amq_protocol::publish(), Vec::new()), expected);
}

#[test]
fn everyone_reads_the_same_delivery() {
    let wire = sample::delivery(sample::BODY, sample::FRAME_MAX);
    let one = ours::decode_delivery(&mut BytesMut::from(&wire[..]));
    assert_eq!((one.deliver().delivery_tag, one.body()), (sample::DELIVERY_TAG, sample::BODY));
    assert_eq!(one.deliver().routing_key, sample::ROUTING_KEY.as_bytes());
    assert_eq!(one.properties().decode().unwrap(), sample::properties());

    let content = ours::decode_content(&mut BytesMut::from(&wire[..]));
    assert_eq!(
        (content.body.into_bytes(), content.header.properties),
        (sample::BODY.into(), one.properties())
    );

    let (message, length) = amq_protocol::decode_delivery(&wire);
    assert_eq!((length, &message.body[..]), (wire.len(), sample::BODY));
    assert_eq!(message.deliver.delivery_tag, sample::DELIVERY_TAG);
    assert_eq!(*message.header.properties.delivery_mode(), Some(2));

    let (message, length) = amqp_serde::decode_delivery(&wire);
    assert_eq!((length, &message.body[..]), (wire.len(), sample::BODY));
    assert_eq!(message.deliver.delivery_tag(), sample::DELIVERY_TAG);
    assert_eq!(message.properties.delivery_mode(), Some(2));
}

#[test]
fn everyone_reads_all_headers() {
    let headers = sample::encoded_headers();
    let mut count = 0;
    ours::decode_headers(&headers, |_| count += 1);
    assert_eq!(count, 20);
    assert_eq!(amq_protocol::decode_headers(&headers).inner().len(), 20);
    assert_eq!(amqp_serde::decode_headers(&headers).as_ref().len(), 20);
}

#[test]
fn no_byte_of_a_body_of_1_mib_in_8_frames_is_copied() {
    const FRAME_MAX: usize = (1 << 17) + FRAME_OVERHEAD;
    let body: Vec<u8> = (0..1 << 20).map(|at: u32| at as u8).collect();
    let mut buffer = BytesMut::from(&sample::delivery(&body, FRAME_MAX)[..]);
    let wire = buffer.as_ptr() as usize..buffer.as_ptr() as usize + buffer.len();
    let frames = iter::from_fn(|| RawFrame::split_from(&mut buffer, FRAME_MAX).unwrap());
    let bodies: Vec<_> = frames.filter(|raw| raw.kind == FrameKind::Body).collect();
    let mut read = Vec::new();
    for raw in bodies {
        let Frame::Body(_, part) = raw.decode().unwrap() else { panic!("a body frame") };
        read.push(part);
    }
    assert_eq!(read.len(), 8);
    for part in &read {
        let at = part.as_ptr() as usize;
        assert!(wire.contains(&at) && at + part.len() <= wire.end, "it lies in the read buffer");
    }
    assert_eq!(read.concat(), body);
}
