//! Refusals of frames that are not allowed at their place.

use amqp_codec::{
    ContentHeader, EncodedProperties, Frame,
    method::{basic, channel},
};
use bytes::Bytes;

use crate::tests::steps::{
    Case,
    Closed::{Channel, Connection, Nothing},
    on, queue, script,
};

/// A thousand octets.
const LONG: &str = {
    const OCTETS: [u8; 1000] = [b'x'; 1000];
    match std::str::from_utf8(&OCTETS) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    }
};

pub(super) fn all() -> Vec<Case> {
    let header = |body_size| {
        let properties = EncodedProperties::NONE;
        Frame::Header(1, ContentHeader { class_id: 60, body_size, properties })
    };
    let body = |text: &'static str| Frame::Body(1, Bytes::from_static(text.as_bytes()));
    let publish = || on(basic::Publish::default());
    vec![
        (
            "body without header",
            script([body("x")]),
            Connection,
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "header without publish",
            script([header(1)]),
            Connection,
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "method amid content",
            script([publish(), on(queue("q"))]),
            Connection,
            "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        ("heartbeat amid content", script([publish(), Frame::Heartbeat(0), header(0)]), Nothing, ""),
        (
            "body too long",
            script([publish(), header(1), body("xy")]),
            Connection,
            "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "frame over frame_max",
            script([publish(), header(900), Frame::Body(1, Bytes::from(vec![0; 200_000]))]),
            Connection,
            "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064}",
        ),
        (
            "channel that is not open",
            script([Frame::Method(7, basic::Qos::default().into())]),
            Connection,
            "504 CHANNEL_ERROR - expected 'channel.open'",
        ),
        (
            "channel opened twice",
            script([on(channel::Open::default())]),
            Connection,
            "504 CHANNEL_ERROR - second 'channel.open' seen",
        ),
        (
            "method amid a body over the limit",
            script([publish(), header(1001), body(LONG), on(queue("q"))]),
            Connection,
            "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "message over the limit",
            script([publish(), header(1001), body(LONG), body("x")]),
            Channel,
            "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
        ),
    ]
}
