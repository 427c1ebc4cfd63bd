//! The handshake from the protocol header to `connection.open-ok`, and everything that can come
//! instead.

use std::time::Duration;

use amqp_client::{ConnectOptions, Connection, Error, ReplyCode, Result, Uri};
use amqp_codec::{
    Arguments as _, Error as CodecError, MethodId, Tune,
    method::{channel, connection},
};
use tests::Peer;
use tokio::{io::DuplexStream, join, time::Instant};

use super::{QUIET, connected_with, ends, error, opened, quiet, short};

async fn connect(stream: DuplexStream) -> Result<Connection> {
    let uri = Uri::parse("amqp://ada:sec%3Aret@broker.example/prod").unwrap();
    ends(quiet().connect_stream(stream, &uri)).await
}

#[tokio::test(start_paused = true)]
async fn the_client_says_who_it_is_and_settles_on_the_smaller_limits() {
    let (mut peer, stream) = Peer::new();
    let uri = Uri::parse("amqp://ada:secret@broker.example/prod").unwrap();
    let options = ConnectOptions::new().name("billing").heartbeat(Duration::from_secs(30));
    let offer = Tune { channel_max: 10, frame_max: 8192, heartbeat: 60 };
    let (connection, accepted) = join!(options.connect_stream(stream, &uri), peer.accept_with(offer));
    connection.unwrap();
    let start_ok = accepted.start_ok;
    assert_eq!(start_ok.mechanism, "PLAIN");
    assert_eq!(start_ok.response.expose(), b"\0ada\0secret");
    let name = start_ok.client_properties.get("connection_name").unwrap();
    assert_eq!(name.as_str(), Some("billing"));
    assert_eq!(accepted.tune_ok, connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat: 30 });
    assert_eq!(accepted.open.virtual_host, "prod");
}

#[tokio::test(start_paused = true)]
async fn zero_in_the_offer_is_no_limit() {
    let (mut peer, stream) = Peer::new();
    let options =
        ConnectOptions::new().channel_max(7).frame_max(65_536).heartbeat(Duration::from_millis(1500));
    let offer = Tune { channel_max: 0, frame_max: 0, heartbeat: 0 };
    let uri = Uri::default();
    let (connection, accepted) = join!(options.connect_stream(stream, &uri), peer.accept_with(offer));
    connection.unwrap();
    assert_eq!(accepted.tune_ok, connection::TuneOk { channel_max: 7, frame_max: 65_536, heartbeat: 2 });
}

#[tokio::test(start_paused = true)]
async fn without_any_limit_all_is_well_too() {
    let options = quiet().channel_max(0).frame_max(0);
    let offer = Tune { channel_max: 0, frame_max: 0, heartbeat: 0 };
    let (mut peer, connection) = connected_with(&options, offer).await;
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_channels_are_opened_than_agreed_on() {
    let (mut peer, connection) = connected_with(&quiet(), Tune { channel_max: 2, ..QUIET }).await;
    let _first = opened(&mut peer, &connection, 1).await;
    let second = opened(&mut peer, &connection, 2).await;
    let refused = error(connection.open_channel().await);
    assert!(matches!(refused, Error::NoFreeChannel { limit: 2 }), "{refused}");
    let (closed, ()) = join!(second.close(), async {
        peer.expect_any::<channel::Close>(2).await;
        peer.send(2, channel::CloseOk {}).await;
    });
    closed.unwrap();
    opened(&mut peer, &connection, 2).await;
}

/// The peer falls silent at each stage; the entries say what it sends before.
#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up_at_the_deadline() {
    for stage in 0..4 {
        let (mut peer, stream) = Peer::new();
        let begun = Instant::now();
        let options = quiet().connect_timeout(Duration::from_secs(7));
        let uri = Uri::default();
        let (result, ()) = join!(options.connect_stream(stream, &uri), async {
            if stage > 0 {
                peer.greet().await;
            }
            if stage > 1 {
                peer.expect_any::<connection::StartOk>(0).await;
                peer.send(0, tune(QUIET)).await;
            }
            if stage > 2 {
                peer.expect_any::<connection::TuneOk>(0).await;
                peer.expect_any::<connection::Open>(0).await;
                // This is only half a frame.
                peer.send_bytes(&b"\x01\0\0\0\0"[..]).await;
            }
        });
        let error = error(result);
        assert!(matches!(&error, Error::ConnectTimeout { after, .. } if after.as_secs() == 7), "{error}");
        assert_eq!(begun.elapsed(), Duration::from_secs(7), "stage {stage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_was_given_up_ends_the_stream() {
    let (mut peer, stream) = Peer::new();
    {
        let (options, uri) = (quiet(), Uri::default());
        let mut connecting = Box::pin(options.connect_stream(stream, &uri));
        tokio::select! {
            biased;
            _ = &mut connecting => panic!("nobody answered"),
            () = peer.greet() => {}
        }
        drop(connecting);
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_of_another_version_is_told_by_its_header_however_it_arrives() {
    for cut in 0..8 {
        let (mut peer, stream) = Peer::new();
        let (result, ()) = join!(connect(stream), async {
            peer.expect_protocol_header().await;
            peer.send_bytes(&b"AMQP\x03\x01\0\0"[..cut]).await;
            super::all_idle().await;
            peer.send_bytes(&b"AMQP\x03\x01\0\0"[cut..]).await;
        });
        let error = error(result);
        assert!(
            matches!(error, Error::VersionRefused(header) if &header == b"AMQP\x03\x01\0\0"),
            "{cut}: {error}"
        );
        peer.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_broker_is_told_apart() {
    let openings: [&[u8]; 5] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\0\x02\x02\x16",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"220 mail.example ESMTP\r\n",
        // This frame claims 4 GiB.
        b"\x01\0\0\xff\xff\xff\xff",
    ];
    for opening in openings {
        let (mut peer, stream) = Peer::new();
        let (result, ()) = join!(connect(stream), async {
            peer.expect_protocol_header().await;
            peer.send_bytes(opening).await;
        });
        let error = error(result);
        assert!(matches!(error, Error::NotAmqp(_)), "{opening:?}: {error}");
        peer.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_at_once_is_a_lost_connection() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.expect_protocol_header().await;
        drop(peer);
    });
    let error = error(result);
    assert!(matches!(error, Error::ConnectionLost(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_frame_max_too_small_to_work_with_is_refused() {
    for frame_max in [1, 4095] {
        let (mut peer, stream) = Peer::new();
        let (result, ()) = join!(connect(stream), async {
            peer.greet().await;
            peer.expect_any::<connection::StartOk>(0).await;
            peer.send(0, tune(Tune { frame_max, ..QUIET })).await;
        });
        let error = error(result);
        let Error::Protocol { channel: 0, source } = &error else { panic!("{error}") };
        assert_eq!(*source, CodecError::FrameMaxTooSmall(frame_max));
        peer.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_names_the_user_and_the_brokers_words_but_no_password() {
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.";
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, connection::Close { reply_code: 403, reply_text: short(text), ..Default::default() })
            .await;
        peer.expect(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    });
    let error = error(result);
    let Error::LoginRefused { user, reason } = &error else { panic!("{error}") };
    assert_eq!(user, "ada");
    assert!(reason.contains(text), "{reason}");
    assert!(!format!("{error} {error:?}").contains("sec:ret"));
}

#[tokio::test(start_paused = true)]
async fn a_login_refused_by_hanging_up_is_one_too() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        drop(peer);
    });
    let error = error(result);
    assert!(matches!(&error, Error::LoginRefused { user, .. } if user == "ada"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_goes_down_during_the_login_refuses_nothing() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        let reply_text = short("CONNECTION_FORCED - broker forced connection closure");
        peer.send(0, connection::Close { reply_code: 320, reply_text, ..Default::default() }).await;
        peer.expect(0, connection::CloseOk {}).await;
    });
    let error = error(result);
    assert!(matches!(&error, Error::ConnectionClosed(close) if close.code == ReplyCode(320)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_second_round_of_login_is_refused() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, connection::Secure { challenge: "again".into() }).await;
    });
    let error = error(result);
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_plain_is_named_with_what_it_offers() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.expect_protocol_header().await;
        let start = connection::Start { mechanisms: "EXTERNAL PLAINER".into(), ..Default::default() };
        peer.send(0, start).await;
    });
    let error = error(result);
    let Error::NoMechanism { offered, wanted } = &error else { panic!("{error}") };
    assert_eq!((offered.as_str(), wanted.as_str()), ("EXTERNAL PLAINER", "PLAIN AMQPLAIN"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_virtual_host_is_named_with_the_brokers_close() {
    let (mut peer, stream) = Peer::new();
    let id = connection::Open::ID;
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, tune(QUIET)).await;
        peer.expect_any::<connection::TuneOk>(0).await;
        peer.expect_any::<connection::Open>(0).await;
        let reply_text = short("NOT_ALLOWED - vhost prod not found");
        let (class_id, method_id) = (id.class_id, id.method_id);
        peer.send(0, connection::Close { reply_code: 530, reply_text, class_id, method_id }).await;
        peer.expect(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    });
    let error = error(result);
    let Error::VhostRefused { vhost, close } = &error else { panic!("{error}") };
    assert_eq!((vhost.as_str(), close.code, close.method), ("prod", ReplyCode::NOT_ALLOWED, Some(id)));
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_ALLOWED));
}

#[tokio::test(start_paused = true)]
async fn a_method_out_of_turn_is_named_with_what_was_due() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.expect_protocol_header().await;
        peer.send(0, tune(QUIET)).await;
    });
    assert_eq!(due(&error(result)), ("connection.start", "connection.tune"));

    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, connection::OpenOk::default()).await;
    });
    assert_eq!(due(&error(result)), ("connection.tune", "connection.open-ok"));

    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, tune(QUIET)).await;
        peer.expect_any::<connection::TuneOk>(0).await;
        peer.send(0, channel::OpenOk::default()).await;
    });
    assert_eq!(due(&error(result)), ("connection.open-ok", "channel.open-ok"));
}

#[tokio::test(start_paused = true)]
async fn garbage_in_the_middle_of_the_handshake_is_the_peers_breach() {
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(connect(stream), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send_bytes(&b"\x01\0\0\0\0\0\x04\0\x0a\0\x63\xce"[..]).await;
    });
    let error = error(result);
    let Error::Protocol { channel: 0, source } = &error else { panic!("{error}") };
    let MethodId { class_id, .. } = connection::Start::ID;
    assert_eq!(*source, CodecError::UnknownMethod { class_id, method_id: 99 });
}

fn tune(limits: Tune) -> connection::Tune {
    let Tune { channel_max, frame_max, heartbeat } = limits;
    connection::Tune { channel_max, frame_max, heartbeat }
}

fn due(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::UnexpectedMethod { channel: 0, expected, got } => (*expected, *got),
        other => panic!("{other}"),
    }
}
