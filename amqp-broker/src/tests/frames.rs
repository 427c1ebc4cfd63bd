//! Frames that are none, octet by octet.

use amqp_codec::{
    Secret,
    frame::PROTOCOL_HEADER,
    method::{channel, connection},
};
use bytes::BytesMut;

use super::{
    both::both,
    peer::{Peer, short, start_ok},
};
use crate::broker::Broker;

/// A heartbeat with something in it.
fn beat(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[8, 0, channel][..], &length, payload, &[0xce]].concat()
}

async fn refused(peer: &mut Peer, octets: &[u8]) -> String {
    peer.raw(octets).await;
    peer.refusal().await
}

both! {
    async fn a_heartbeat_with_a_payload_is_no_frame(broker: &Tested) {
        for channel in [0, 1, 7] {
            let said = refused(&mut broker.open().await, &beat(channel, b"xyz")).await;
            assert_eq!(said, "connection 501 FRAME_ERROR - type 8, all octets = <<\"xyz\">>: unknown_frame");
        }
    }

    async fn of_a_long_frame_the_beginning_is_shown(broker: &Tested) {
        let said = refused(&mut broker.open().await, &beat(0, &[b'x'; 16])).await;
        assert_eq!(said, "connection 501 FRAME_ERROR - type 8, all octets = <<\"xxxxxxxxxxxxxxxx\">>: unknown_frame");
        let said = refused(&mut broker.open().await, &beat(0, &[b'x'; 300])).await;
        assert_eq!(said, "connection 501 FRAME_ERROR - type 8, first 16 octets = <<\"xxxxxxxxxxxxxxxx\">>: unknown_frame");
    }

    async fn a_heartbeat_is_the_connections(broker: &Tested) {
        let said = refused(&mut broker.open().await, &beat(1, b"")).await;
        assert_eq!(said, "connection 505 UNEXPECTED_FRAME - type 8, all octets = <<>>");
        let mut peer = broker.open().await;
        peer.raw(&beat(0, b"")).await;
        peer.settle_down().await;
    }
}

/// A method's frame that ends with another octet than it should.
fn cut_off(number: u16, method: impl Into<amqp_codec::Method>) -> Vec<u8> {
    let mut frame = BytesMut::new();
    amqp_codec::Frame::Method(number, method.into()).encode(usize::MAX, &mut frame).unwrap();
    let mut frame = frame.to_vec();
    *frame.last_mut().unwrap() = 0;
    frame
}

#[tokio::test]
async fn of_a_secret_nothing_is_shown_in_a_frame_that_ends_wrongly() {
    let broker = Broker::builder().build();
    let secret = || Secret::from("hunter2");
    let update = connection::UpdateSecret { new_secret: secret(), reason: short("hunter2") };
    let secure_ok = connection::SecureOk { response: secret() };
    for (number, frame) in [
        (70, cut_off(0, update.clone())),
        (70, cut_off(1, update)),
        (21, cut_off(0, secure_ok.clone())),
        (21, cut_off(7, secure_ok)),
        (11, cut_off(0, start_ok("hunter2", "hunter2"))),
    ] {
        let said = refused(&mut Peer::open(&broker).await, &frame).await;
        let shown = format!("first 4 octets = <<0,10,0,{number}>>");
        assert_eq!(
            said,
            format!("connection 501 FRAME_ERROR - type 1, {shown}: {{invalid_frame_end_marker,0}}")
        );
    }
    // The other methods are no secret.
    let said = refused(&mut Peer::open(&broker).await, &cut_off(1, channel::Flow { active: true })).await;
    assert!(said.contains("all octets = <<0,20,0,20,1>>"), "{said}");
}

#[tokio::test]
async fn of_a_login_that_ends_wrongly_nothing_is_shown() {
    let mut peer = Peer::silent(&Broker::builder().build());
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.raw(&cut_off(0, start_ok("hunter2", "hunter2"))).await;
    let rest = String::from_utf8_lossy(&peer.rest().await).into_owned();
    assert!(!rest.contains("hunter") && !rest.contains("104,117"), "{rest}");
}
