//! The handshake, and the end of a connection.

use std::time::Duration;

use amqp_codec::{
    FRAME_OVERHEAD, Frame, LongString, Secret, Table, Value,
    frame::{HEARTBEAT, PROTOCOL_HEADER},
    method::{basic, channel, connection, queue},
};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::{
    broker::Broker,
    core::rabbitmq::version::RabbitMq,
    tests::{
        both::both,
        peer::{Peer, amqplain, capabilities, short, start_ok},
    },
};

#[tokio::test]
async fn another_protocol_is_told_which_one_this_is() {
    for first in [&b"AMQP\x01\x01\x00\x0a"[..], b"AMQP\x00\x00\x09\x00", b"GET / HTTP/1.1\r\n", b"x"] {
        let mut peer = Peer::silent(&Broker::builder().build());
        peer.raw(first).await;
        assert_eq!(peer.rest().await, PROTOCOL_HEADER);
    }
}

#[tokio::test]
async fn the_offer_is_rabbitmqs() {
    let mut peer = Peer::silent(&Broker::builder().build());
    peer.raw(&PROTOCOL_HEADER).await;
    let start = peer.expect::<connection::Start>(0).await;
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.mechanisms.to_text(), "AMQPLAIN PLAIN");
    let capabilities = start.server_properties.get("capabilities");
    let capabilities = capabilities.as_ref().and_then(Value::as_table).unwrap();
    assert_eq!(capabilities.get("publisher_confirms"), Some(Value::Bool(true)));
    assert_eq!(capabilities.get("direct_reply_to"), Some(Value::Bool(true)));
    let text = |name| start.server_properties.get(name).as_ref().and_then(Value::as_str).map(str::to_owned);
    assert_eq!(text("product").as_deref(), Some("RabbitMQ"));
    assert_eq!(text("version").as_deref(), Some("3.10.8"));
    let ours = format!("amqp-broker {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(text("platform"), Some(ours));
    for name in ["cluster_name", "copyright", "information"] {
        assert!(text(name).is_some_and(|text| !text.is_empty()), "{name}");
    }
    peer.send(0, start_ok("guest", "guest")).await;
    let tune = peer.expect::<connection::Tune>(0).await;
    assert_eq!((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131_072, 60));
}

#[tokio::test]
async fn a_product_of_another_name_is_shown() {
    let long = "\u{e9}".repeat(500);
    let broker = Broker::builder().product("Tests").product_version(&long).build();
    let mut peer = Peer::silent(&broker);
    peer.raw(&PROTOCOL_HEADER).await;
    let start = peer.expect::<connection::Start>(0).await;
    assert_eq!(start.server_properties.get("product"), Some(Value::from("Tests")));
    assert_eq!(start.server_properties.get("version"), Some(Value::from(&long[..254])));
}

both! {
    async fn the_header_of_the_first_drafts_is_answered_too(broker: &Tested) {
        let mut peer = broker.silent().await;
        peer.raw(b"AMQP\x01\x01\x00\x09").await;
        peer.go_on(start_ok("guest", "guest"), "/", 131_072, 0).await;
        peer.call(1, channel::Open::default()).await;
    }

    async fn who_wants_other_limits_than_it_was_offered_is_not_told_why_the_connection_ends(broker: &Tested) {
        for (channel_max, frame_max) in [(0, 131_072), (2048, 131_072), (2047, 131_073), (2047, 4095), (2047, 0)] {
            let mut peer = broker.silent().await;
            peer.raw(&PROTOCOL_HEADER).await;
            peer.expect::<connection::Start>(0).await;
            peer.send(0, start_ok("guest", "guest")).await;
            peer.expect::<connection::Tune>(0).await;
            peer.send(0, connection::TuneOk { channel_max, frame_max, heartbeat: 0 }).await;
            assert_eq!(peer.next().await, None, "{channel_max} {frame_max}");
        }
    }

    async fn a_login_that_is_malformed_ends_the_connection_without_a_word(broker: &Tested) {
        let table = |octets: &'static [u8]| Secret::from(LongString::from(Bytes::from_static(octets)));
        for (mechanism, response) in [
            ("PLAIN", Secret::from("x")),
            ("PLAIN", Secret::from("")),
            ("PLAIN", Secret::from("\0guest")),
            ("PLAIN", Secret::from("\0guest\0guest\0more")),
            ("PLAIN", Secret::from("ada\0guest\0guest")),
            ("AMQPLAIN", table(b"xx")),
            ("AMQPLAIN", table(b"")),
        ] {
            let mut peer = broker.silent().await;
            peer.raw(&PROTOCOL_HEADER).await;
            peer.expect::<connection::Start>(0).await;
            peer.send(0, connection::StartOk { mechanism: short(mechanism), response, ..start_ok("", "") }).await;
            assert_eq!(peer.next().await, None, "{mechanism}");
        }
    }

    async fn another_protocol_is_told_what_the_version_speaks(broker: &Tested) {
        let is_old = broker.version() == RabbitMq::V3_10;
        let other = if is_old { PROTOCOL_HEADER } else { *b"AMQP\x03\x01\0\0" };
        for (header, told) in [
            (*b"AMQP\0\0\x09\0", PROTOCOL_HEADER),
            (*b"AMQP\0\0\x0a\0", PROTOCOL_HEADER),
            (*b"AMQP\0\0\x08\0", other),
            (*b"AMQP\x01\x01\0\x0a", other),
            (*b"AMQP\0\x01\0\0", other),
            (*b"AMQP\x02\x01\0\0", other),
            (*b"GET / HT", other),
        ] {
            let mut peer = broker.silent().await;
            peer.raw(&header).await;
            assert_eq!(peer.octets(8).await, told, "{header:?}");
        }
        for header in [*b"AMQP\x01\x01\x08\0", *b"AMQP\x01\x01\x09\x01"].into_iter().filter(|_| !is_old) {
            let mut peer = broker.silent().await;
            peer.raw(&header).await;
            assert_eq!(peer.octets(8).await, other, "{header:?}");
        }
    }

    async fn version_0_8_is_spoken_by_3_10_until_the_virtual_host_is_open(broker: &Tested) {
        if broker.version() != RabbitMq::V3_10 {
            return;
        }
        for header in [*b"AMQP\x01\x01\x08\0", *b"AMQP\x01\x01\x09\x01"] {
            let mut peer = broker.silent().await;
            peer.raw(&header).await;
            let start = peer.expect::<connection::Start>(0).await;
            assert_eq!((start.version_major, start.version_minor), (8, 0));
            assert_eq!(start.server_properties.get("capabilities"), Some(Value::Table(Table::new())));
            peer.send(0, start_ok("guest", "guest")).await;
            peer.expect::<connection::Tune>(0).await;
            peer.send(0, connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 }).await;
            peer.call(0, connection::Open { virtual_host: short("/"), ..Default::default() }).await;
            // Its close is method 60, which is another one in 0-9-1, and the answer is method 61.
            peer.raw(b"\x01\0\0\0\0\0\x0b\0\x0a\0\x3c\0\xc8\0\0\0\0\0\xce").await;
            assert_eq!(peer.octets(12).await, b"\x01\0\0\0\0\0\x04\0\x0a\0\x3d\xce");
        }
    }

    async fn a_close_of_0_8_has_its_number(broker: &Tested) {
        if broker.version() != RabbitMq::V3_10 {
            return;
        }
        let mut peer = broker.silent().await;
        peer.raw(b"AMQP\x01\x01\x08\0").await;
        peer.expect::<connection::Start>(0).await;
        peer.send(0, start_ok("guest", "wrong")).await;
        let close = peer.octets(13).await;
        assert_eq!(close[7..], [0, 10, 0, 60, 1, 147], "{close:?}");
    }

    async fn before_the_limits_are_agreed_on_frames_are_short(broker: &Tested) {
        for (size, is_heard) in [(4096, true), (4097, false)] {
            let mut peer = broker.silent().await;
            peer.raw(&PROTOCOL_HEADER).await;
            peer.expect::<connection::Start>(0).await;
            let fill = |count: usize| {
                let mut start_ok = start_ok("guest", "guest");
                start_ok.client_properties.insert("fill", "x".repeat(count)).unwrap();
                Frame::Method(0, start_ok.into())
            };
            let frame_len = |frame: &Frame| {
                let mut octets = BytesMut::new();
                frame.encode(usize::MAX, &mut octets).unwrap();
                octets.len()
            };
            let rest = frame_len(&fill(0)) - FRAME_OVERHEAD;
            peer.frame(&fill(size - rest)).await;
            if is_heard {
                peer.expect::<connection::Tune>(0).await;
            } else {
                assert_eq!(peer.next().await, None);
            }
        }
    }
}

#[tokio::test]
async fn a_method_beyond_the_handshake_of_0_8_is_not_implemented() {
    let mut peer = Peer::silent(&Broker::builder().build());
    peer.raw(b"AMQP\x01\x01\x08\0").await;
    peer.go_on(start_ok("guest", "guest"), "/", 4096, 0).await;
    peer.send(1, channel::Open::default()).await;
    let close = peer.octets(13).await;
    assert_eq!(close[7..], [0, 10, 0, 60, 2, 28], "{close:?}");
}

#[tokio::test]
async fn amqplain_logs_in_too() {
    let broker = Broker::builder().user("oslo", "secret").build();
    let mut peer = Peer::silent(&broker);
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    let start_ok = connection::StartOk {
        mechanism: short("AMQPLAIN"),
        response: amqplain("oslo", "secret"),
        ..start_ok("", "")
    };
    peer.send(0, start_ok).await;
    peer.expect::<connection::Tune>(0).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_only_to_clients_that_understand_it() {
    for (client_properties, told) in [(capabilities(), true), (Table::new(), false)] {
        let mut peer = Peer::silent(&Broker::builder().build());
        peer.raw(&PROTOCOL_HEADER).await;
        peer.expect::<connection::Start>(0).await;
        peer.send(0, connection::StartOk { client_properties, ..start_ok("guest", "wrong") }).await;
        if told {
            let close = peer.expect::<connection::Close>(0).await;
            let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                        For details see the broker logfile.";
            assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (403, text));
        }
        assert_eq!(peer.next().await, None);
    }
}

#[tokio::test]
async fn an_unknown_virtual_host_is_named() {
    let mut peer = Peer::silent(&Broker::builder().build());
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.send(0, start_ok("guest", "guest")).await;
    peer.expect::<connection::Tune>(0).await;
    peer.send(0, connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 }).await;
    peer.send(0, connection::Open { virtual_host: short("novhost"), ..Default::default() }).await;
    let close = peer.expect::<connection::Close>(0).await;
    assert_eq!(
        (close.reply_code, close.reply_text.to_text().as_ref()),
        (530, "NOT_ALLOWED - vhost novhost not found")
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let mut peer = Peer::silent(&Broker::builder().login_timeout(Duration::from_secs(2)).build());
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_and_their_lack_is_noticed() {
    let broker = Broker::builder().heartbeat(Duration::from_secs(2)).build();
    let mut peer = Peer::silent(&broker);
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.send(0, start_ok("guest", "guest")).await;
    peer.expect::<connection::Tune>(0).await;
    peer.send(0, connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 2 }).await;
    peer.call(0, connection::Open { virtual_host: short("/"), ..Default::default() }).await;
    let rest = peer.rest().await;
    assert!(rest.starts_with(&HEARTBEAT) && rest.len() % HEARTBEAT.len() == 0, "{rest:?}");
}

/// How long after `began` the next heartbeat comes, in tenths of a second.
async fn beat(peer: &mut Peer, began: Instant) -> u128 {
    assert_eq!(peer.octets(HEARTBEAT.len()).await, HEARTBEAT);
    (began.elapsed().as_millis() + 50) / 100
}

#[tokio::test(start_paused = true)]
async fn heartbeats_leave_every_half_interval() {
    let broker = Broker::builder().build();
    let mut peer = Peer::silent(&broker);
    peer.log_in_with_heartbeat(1).await;
    let began = Instant::now();
    for tenths in [5, 10, 15, 20] {
        assert_eq!(beat(&mut peer, began).await, tenths);
    }
}

#[tokio::test(start_paused = true)]
async fn what_else_is_said_takes_the_place_of_a_heartbeat() {
    let broker = Broker::builder().build();
    let mut peer = Peer::silent(&broker);
    peer.log_in_with_heartbeat(1).await;
    let began = Instant::now();
    assert_eq!(beat(&mut peer, began).await, 5);
    tokio::time::advance(Duration::from_millis(200)).await;
    peer.call(1, channel::Open::default()).await;
    assert_eq!(beat(&mut peer, began).await, 15);
    assert_eq!(beat(&mut peer, began).await, 20);
}

#[tokio::test]
async fn a_secret_is_updated_and_a_close_is_answered() {
    let mut peer = Peer::open(&Broker::builder().build()).await;
    peer.call(0, connection::UpdateSecret { new_secret: "new".into(), reason: short("rotation") }).await;
    peer.call(0, connection::Close { reply_code: 200, ..Default::default() }).await;
}

#[tokio::test]
async fn after_a_channel_error_all_but_close_ok_is_ignored_and_the_number_is_free_again() {
    let mut peer = Peer::open(&Broker::builder().build()).await;
    let passive = queue::Declare { queue: short("nope"), passive: true, ..Default::default() };
    peer.send(1, passive).await;
    peer.publish("nope", "k", "ignored").await;
    peer.send(1, basic::Ack { delivery_tag: 5, multiple: false }).await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 404);
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
    peer.settle_down().await;
}

#[tokio::test]
async fn a_shutdown_closes_connections_with_320_and_ends() {
    let broker = Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    assert_ne!(listener.local_addr().port(), 0);
    let mut peer = Peer::open(&broker).await;
    let ending = tokio::spawn({
        let broker = broker.clone();
        async move { broker.shutdown().await }
    });
    let close = peer.expect::<connection::Close>(0).await;
    assert_eq!(close.reply_code, 320);
    assert!(close.reply_text.to_text().starts_with("CONNECTION_FORCED - "));
    peer.frame(&Frame::Method(0, connection::CloseOk {}.into())).await;
    ending.await.unwrap();
    assert_eq!(peer.next().await, None);
}
