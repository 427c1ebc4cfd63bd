//! Malformed frames, octet by octet.

use amqp_codec::{
    ContentHeader, EncodedProperties, Frame, Secret,
    frame::{HEADER_LEN, PROTOCOL_HEADER},
    method::{basic, channel, connection},
};
use bytes::{Bytes, BytesMut};

use crate::{
    broker::Broker,
    tests::{
        both::{Tested, both},
        peer::{Peer, short, start_ok},
    },
};

/// A heartbeat with a payload.
fn beat(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[8, 0, channel][..], &length, payload, &[0xce]].concat()
}

async fn refused(peer: &mut Peer, octets: &[u8]) -> String {
    peer.raw(octets).await;
    peer.refusal().await
}

impl Tested {
    /// A client with channel 1 and this frame_max.
    async fn with_frames_of(&self, frame_max: u32) -> Peer {
        let mut peer = self.silent().await;
        peer.log_in_as(start_ok("guest", "guest"), "/", frame_max).await;
        peer.call(1, channel::Open::default()).await;
        peer
    }
}

/// Publishes a body in one frame.
async fn publish_whole(peer: &mut Peer, size: usize) {
    peer.send(1, basic::Publish { routing_key: short("frames.none"), ..Default::default() }).await;
    let properties = EncodedProperties::NONE;
    peer.frame(&Frame::Header(1, ContentHeader { class_id: 60, body_size: size as u64, properties })).await;
    peer.frame(&Frame::Body(1, Bytes::from(vec![b'x'; size]))).await;
}

both! {
    async fn frame_max_is_the_limit_of_a_payload(broker: &Tested) {
        for frame_max in [4096, 131_072] {
            let mut peer = broker.with_frames_of(frame_max).await;
            let frame_max = frame_max as usize;
            for size in [frame_max - 8, frame_max - 7, frame_max - 1, frame_max] {
                publish_whole(&mut peer, size).await;
                peer.settle_down().await;
            }
            publish_whole(&mut peer, frame_max + 1).await;
            let (size, limit) = (frame_max + 1, frame_max - 8);
            assert_eq!(
                peer.refusal().await,
                format!("connection 501 FRAME_ERROR - type 3, all octets = <<>>: {{frame_too_large,{size},{limit}}}")
            );
        }
    }

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

    async fn a_frame_of_an_unknown_type_is_shown_when_it_has_arrived(broker: &Tested) {
        for channel in [0, 1, 7] {
            let frame = [&[5, 0, channel, 0, 0, 0, 3][..], b"abc\xce"].concat();
            let mut peer = broker.open().await;
            // Until it is whole, only its type is wrong.
            peer.raw(&frame[..9]).await;
            let said = refused(&mut peer, &frame[9..]).await;
            assert_eq!(said, "connection 501 FRAME_ERROR - type 5, all octets = <<\"abc\">>: unknown_frame");
        }
        let long = [&[9, 0, 1, 0, 0, 0, 20][..], &[b'a'; 20], b"\xce"].concat();
        let said = refused(&mut broker.open().await, &long).await;
        let shown = "first 16 octets = <<\"aaaaaaaaaaaaaaaa\">>";
        assert_eq!(said, format!("connection 501 FRAME_ERROR - type 9, {shown}: unknown_frame"));
        let said = refused(&mut broker.open().await, b"\x05\0\x01\0\0\0\x01a\0").await;
        assert_eq!(said, "connection 501 FRAME_ERROR - type 5, all octets = <<\"a\">>: {invalid_frame_end_marker,0}");
        let said = refused(&mut broker.open().await, b"\x05\0\x01\0\x10\0\0").await;
        assert_eq!(said, "connection 501 FRAME_ERROR - type 5, all octets = <<>>: {frame_too_large,1048576,131064}");
    }

    async fn arguments_that_end_too_early_or_too_late_are_shown_as_octets(broker: &Tested) {
        let long: &[u8] = &[&[0, 0, 255][..], &[b'a'; 80]].concat();
        for (class_id, method_id, arguments) in [
            (40, 10, &[0, 0, 20][..]),
            (50, 10, &[0, 0, 20]),
            (60, 40, &[0, 0, 20]),
            (60, 80, &[0, 0, 20]),
            (60, 80, &[0; 20]),
            (20, 10, &[20]),
            (40, 10, long),
        ] {
            let method = [&[0, class_id, 0, method_id][..], arguments].concat();
            let size = u8::try_from(method.len()).unwrap();
            let mut peer = broker.open().await;
            peer.raw(&[&[1, 0, 1, 0, 0, 0, size][..], &method, b"\xce"].concat()).await;
            let close = peer.expect::<connection::Close>(0).await;
            let digits: Vec<_> = arguments.iter().map(u8::to_string).collect();
            let mut text = format!("FRAME_ERROR - cannot decode <<{}>>", digits.join(","));
            if text.len() > 255 {
                text.replace_range(252.., "...");
            }
            assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (501, text.as_str()));
            assert_eq!((close.class_id, close.method_id), (class_id.into(), method_id.into()));
        }
        // Of the connection's own methods nothing is shown.
        let said = refused(&mut broker.open().await, b"\x01\0\0\0\0\0\x06\0\x0a\0\x46\0\x14\xce").await;
        assert_eq!(said, "connection 541 INTERNAL_ERROR");
    }

    async fn a_heartbeat_is_the_connections(broker: &Tested) {
        let said = refused(&mut broker.open().await, &beat(1, b"")).await;
        assert_eq!(said, "connection 505 UNEXPECTED_FRAME - type 8, all octets = <<>>");
        let mut peer = broker.open().await;
        peer.raw(&beat(0, b"")).await;
        peer.settle_down().await;
    }
}

/// A method frame with a wrong end marker.
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
        assert_eq!(said, format!("connection 501 FRAME_ERROR - type 1, {shown}: invalid_frame_end_marker"));
    }
    // Its size is shorter than its contents.
    let mut frame = cut_off(0, connection::UpdateSecret { new_secret: secret(), reason: short("") });
    let length = frame.windows(7).position(|octets| octets == b"hunter2").unwrap() + 3 - HEADER_LEN;
    frame[3..7].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    let said = refused(&mut Peer::open(&broker).await, &frame).await;
    assert!(said.ends_with("<<0,10,0,70>>: invalid_frame_end_marker"), "{said}");
    // Methods of other classes are not secret.
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
