//! Bodies that are split into frames and assembled again.

use amqp_codec::{
    Assembler, Body, Content, ContentHeader, EncodedProperties, Error, FRAME_OVERHEAD, Frame, Method,
    RawFrame, ReplyCode,
    content::{self, CONTENT_HEADER_LEN},
    frame::encode_content,
    method::basic,
};
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::reference;

const FRAME_MAX: usize = 4096;
const BODY: &[u8] = b"a body of some length";

proptest! {
    #[test]
    fn a_body_of_any_length_fits_frames_of_any_size(length in 0..100_000usize, frame_max in 4096..200_000usize) {
        let sizes: Vec<_> = content::body_frame_sizes(length, frame_max).collect();
        prop_assert_eq!(sizes.iter().sum::<usize>(), length);
        prop_assert!(sizes.iter().all(|&size| size > 0 && size + FRAME_OVERHEAD <= frame_max));
        // No more frames are used than needed: all but the last are full.
        let full = frame_max - FRAME_OVERHEAD;
        prop_assert!(sizes.iter().rev().skip(1).all(|&size| size == full));
    }

    #[test]
    fn a_body_in_any_parts_is_the_body(body in vec(any::<u8>(), 1..500), cuts in vec(any::<Index>(), 0..8)) {
        let body = Bytes::from(body);
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        ends.push(body.len());
        ends.sort_unstable();
        let assembled = assembled(&body, &ends);
        prop_assert_eq!(assembled.len(), body.len());
        prop_assert!(assembled.parts().all(|part| !part.is_empty()));
        prop_assert_eq!(assembled.into_bytes(), body);
    }

    #[test]
    fn frames_in_any_order_are_taken_or_refused_by_turn(steps in vec(step(), 0..20)) {
        let mut assembler = Assembler::default();
        let mut due = Due::Method;
        for step in steps {
            let next = due.after(step);
            prop_assert_eq!(taken(&mut assembler, step), next.is_some());
            due = match next {
                Some(next) => next,
                // The connection ends here; the next one starts afresh.
                None => {
                    assembler.clear();
                    Due::Method
                }
            };
            prop_assert_eq!(assembler.is_idle(), due == Due::Method);
        }
    }
}

#[test]
fn a_body_cut_at_every_two_places_is_the_body() {
    let body = Bytes::from_static(BODY);
    for first in 0..=body.len() {
        for second in first..=body.len() {
            let assembled = assembled(&body, &[first, second, body.len()]);
            assert_eq!(assembled.into_bytes(), body, "cut at {first} and {second}");
        }
    }
}

#[test]
fn a_body_of_one_frame_is_not_copied() {
    let body = Bytes::from(BODY.to_vec());
    let whole = assembled(&body, &[body.len()]).into_bytes();
    assert_eq!(whole.as_ptr(), body.as_ptr());
}

#[test]
fn empty_parts_are_not_kept() {
    let mut assembler = Assembler::default();
    assembler.method(()).unwrap();
    assembler.header(header(1)).unwrap();
    for _ in 0..1000 {
        assert_eq!(assembler.body(Bytes::new()).unwrap(), None);
    }
    let content = assembler.body(Bytes::from_static(b"x")).unwrap().unwrap();
    assert_eq!(content.body.parts().count(), 1);
}

#[test]
fn what_passes_through_keeps_its_bytes_undecoded() {
    // No library writes such headers: a repeated name, wrong order, `L` for a long long, a true of
    // 7, a NaN.
    let table = b"\x01zL\0\0\0\0\0\0\0\x01\x01at\x07\x01zV\x01nd\x7f\xf8\0\0\0\0\0\x01";
    let properties = [&[0x30, 0][..], &reference::sized(table), &[2]].concat();
    let received = forwarded(3, &[EncodedProperties::from_encoded(properties.into())]);
    assert!(received.windows(table.len()).any(|bytes| bytes == table), "the headers are there as they were");
    let decoded = contents_of(received).remove(0).header.properties.decode().unwrap();
    let names: Vec<_> = decoded.headers.unwrap().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["z", "a", "z", "n"]);

    // Malformed properties pass unchanged too; only who decodes them gets an error.
    let malformed = EncodedProperties::from_encoded(Bytes::from_static(b"\xff\xff no properties"));
    assert!(malformed.decode().is_err());
    forwarded(3, &[malformed, EncodedProperties::NONE]);
}

/// Deliveries with `properties`, received and forwarded `hops` times; returns the bytes, which are
/// the same at each hop.
fn forwarded(hops: usize, properties: &[EncodedProperties]) -> BytesMut {
    let mut first = BytesMut::new();
    for (properties, size) in properties.iter().zip([10, 10_000]) {
        let (deliver, body) = (basic::Deliver::default(), vec![b'x'; size]);
        encode_content(1, &deliver, properties, &body, FRAME_MAX, u64::MAX, &mut first).unwrap();
    }
    let mut wire = first.clone();
    for _ in 0..hops {
        let mut again = BytesMut::new();
        for content in contents_of(wire) {
            let deliver = basic::Deliver::try_from(content.method).unwrap();
            let body = content.body.into_bytes();
            encode_content(1, &deliver, &content.header.properties, &body, FRAME_MAX, u64::MAX, &mut again)
                .unwrap();
        }
        assert_eq!(again, first);
        wire = again;
    }
    wire
}

fn contents_of(mut wire: BytesMut) -> Vec<Content<Method>> {
    let mut assembler = Assembler::default();
    let mut contents = Vec::new();
    while let Some(raw) = RawFrame::split_from(&mut wire, FRAME_MAX).unwrap() {
        contents.extend(match raw.decode().unwrap() {
            Frame::Method(_, method) => assembler.method(method).map(|()| None).unwrap(),
            Frame::Header(_, header) => assembler.header(header).unwrap(),
            Frame::Body(_, part) => assembler.body(part).unwrap(),
            Frame::Heartbeat(_) => None,
        });
    }
    assert!(wire.is_empty() && assembler.is_idle());
    contents
}

#[test]
fn a_body_over_a_limit_and_headers_over_frame_max_are_refused_with_field_length_and_limit() {
    let publish = basic::Publish::default();
    let mut out = BytesMut::new();
    let none = EncodedProperties::NONE;
    let error = encode_content(1, &publish, &none, &[0; 11], FRAME_MAX, 10, &mut out).unwrap_err();
    assert_eq!(error, Error::TooLong { what: "body", length: 11, limit: 10 });

    let large = EncodedProperties::from_encoded(vec![0; FRAME_MAX].into());
    let error = encode_content(1, &publish, &large, b"", FRAME_MAX, 10, &mut out).unwrap_err();
    let expected = FRAME_MAX + CONTENT_HEADER_LEN + FRAME_OVERHEAD;
    let what = "a content header frame";
    assert_eq!(error, Error::TooLong { what, length: expected as u64, limit: FRAME_MAX as u64 });
    assert!(out.is_empty(), "nothing of it was written");
}

#[test]
fn an_announced_size_reserves_nothing() {
    let mut assembler = Assembler::default();
    assembler.method(()).unwrap();
    assert_eq!(assembler.header(header(u64::MAX)).unwrap(), None);
    assert_eq!(assembler.body(Bytes::from_static(b"x")).unwrap(), None);
}

#[test]
fn frames_out_of_turn_and_bodies_too_long_are_answered_with_505() {
    let mut assembler = Assembler::<()>::default();
    let error = assembler.header(header(1)).unwrap_err();
    assert_eq!(error.reply_code(), ReplyCode::UNEXPECTED_FRAME);
    assembler.method(()).unwrap();
    assembler.header(header(1)).unwrap();
    let error = assembler.body(Bytes::from_static(b"ab")).unwrap_err();
    assert_eq!(error, Error::BodyTooLong { announced: 1, received: 2 });
    assert_eq!(error.reply_code(), ReplyCode::UNEXPECTED_FRAME);
}

fn header(body_size: u64) -> ContentHeader {
    ContentHeader { class_id: 60, body_size, properties: EncodedProperties::NONE }
}

/// Assembles `body` from parts that end at each of `ends`; it must be complete with its last byte,
/// and not before.
fn assembled(body: &Bytes, ends: &[usize]) -> Body {
    let mut assembler = Assembler::default();
    assembler.method("deliver").unwrap();
    assert_eq!(assembler.header(header(body.len() as u64)).unwrap(), None);
    let mut start = 0;
    for &end in ends {
        let content = assembler.body(body.slice(start..end)).unwrap();
        start = end;
        assert_eq!(content.is_some(), end == body.len());
        if let Some(content) = content {
            assert_eq!(content.method, "deliver");
            return content.body;
        }
    }
    panic!("the last part did not complete the body");
}

/// An incoming frame, with the size that a header announces or a part of a body has.
#[derive(Clone, Copy, Debug)]
enum Step {
    Method,
    Header(u8),
    Body(u8),
}

/// What the protocol allows next (spec section 4.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Method,
    Header,
    Body(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Method), (0..4u8).prop_map(Step::Header), (0..4u8).prop_map(Step::Body)]
}

impl Due {
    /// The state after `step`; `None` when it is out of order or too long.
    fn after(self, step: Step) -> Option<Due> {
        match (self, step) {
            (Due::Method, Step::Method) => Some(Due::Header),
            (Due::Header, Step::Header(0)) => Some(Due::Method),
            (Due::Header, Step::Header(size)) => Some(Due::Body(size)),
            (Due::Body(left), Step::Body(size)) if size == left => Some(Due::Method),
            (Due::Body(left), Step::Body(size)) if size < left => Some(Due::Body(left - size)),
            _ => None,
        }
    }
}

fn taken(assembler: &mut Assembler<()>, step: Step) -> bool {
    match step {
        Step::Method => assembler.method(()).is_ok(),
        Step::Header(size) => assembler.header(header(size.into())).is_ok(),
        Step::Body(size) => assembler.body(Bytes::from(vec![0; size.into()])).is_ok(),
    }
}
