//! What a subscriber of `tracing` gets: the events of connections and channels, in their spans, and
//! no secret.

use std::time::Duration;

use amqp_client::{ConnectOptions, Connection, Credentials, Error, Event, Message, Password, Uri};
use amqp_codec::{
    Tune,
    frame::HEARTBEAT,
    method::{channel, connection},
};
use futures_util::FutureExt as _;
use tests::Peer;
use tokio::join;
use tracing::{Level, subscriber::DefaultGuard};

use super::{QUIET, all_idle, consumer, ends, error, opened, publisher, send_deliveries, short};
use crate::log::Log;

const PASSWORD: &str = "correct-horse";
const RENEWED: &str = "battery-staple";

/// Everything that is logged on this thread, at every level.
struct Told(Log);

impl Told {
    fn listen() -> (Self, DefaultGuard) {
        let (log, guard) = Log::listen_from(Level::TRACE);
        (Told(log), guard)
    }

    /// What was logged since the last time.
    fn take(&self) -> String {
        let text = self.0.take();
        assert!(!text.contains(PASSWORD) && !text.contains(RENEWED), "a secret was told:\n{text}");
        text
    }
}

fn uri() -> Uri {
    Uri::parse(&format!("amqp://alice:{PASSWORD}@rabbit.example:5673/prod")).unwrap()
}

async fn connected(options: &ConnectOptions, offer: Tune) -> (Peer, Connection) {
    let (mut peer, stream) = Peer::new();
    let uri = uri();
    let (connection, _) = join!(options.connect_stream(stream, &uri), peer.accept_with(offer));
    (peer, connection.unwrap())
}

/// The level, the spans with their fields, and the text of one line.
#[track_caller]
fn assert_told(line: &str, level: &str, channel: Option<u16>, text: &str) {
    assert_eq!(line.split_whitespace().next(), Some(level), "{line}");
    let connection = "connection{peer=\"rabbit.example:5673\" vhost=\"prod\" name=\"billing\"}:";
    assert!(line.contains(connection), "{line}");
    let in_channel = channel.map(|number| format!(":channel{{number={number}}}:"));
    assert_eq!(line.contains(":channel{"), channel.is_some(), "{line}");
    assert!(in_channel.is_none_or(|span| line.contains(&span)), "{line}");
    assert!(line.contains(text), "{line}");
}

/// RabbitMQ 4.1 and later refuses less than 8192.
#[tokio::test(start_paused = true)]
async fn a_frame_max_that_is_too_small_for_rabbitmq_is_raised_and_told() {
    for (option, parameter, offered, answer) in [
        (4096, "", 131_072, 8192),
        (131_072, "?frame_max=5000", 131_072, 8192),
        (8192, "", 131_072, 8192),
        (0, "", 131_072, 131_072),
        (4096, "", 4096, 4096),
    ] {
        let (told, _guard) = Told::listen();
        let (mut peer, stream) = Peer::new();
        let uri = Uri::parse(&format!("amqp://localhost{parameter}")).unwrap();
        let options = ConnectOptions::new().frame_max(option);
        let offer = Tune { frame_max: offered, ..QUIET };
        let (connection, accepted) = join!(options.connect_stream(stream, &uri), peer.accept_with(offer));
        connection.unwrap();
        assert_eq!(accepted.tune_ok.frame_max, answer);
        let wanted = if parameter.is_empty() { option } else { 5000 };
        let line = format!("a frame_max that RabbitMQ may refuse is raised wanted={wanted} raised_to=8192");
        assert_eq!(told.take().contains(&line), (1..8192).contains(&wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told_in_the_spans_of_connection_and_channel() {
    let (told, _guard) = Told::listen();
    let options = ConnectOptions::new().name("billing").heartbeat(Duration::ZERO);
    let (mut peer, connection) = connected(&options, QUIET).await;
    assert_told(&told.take(), "INFO", None, "the connection is open");
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    assert_told(&told.take(), "DEBUG", Some(1), "the channel is open");

    peer.send(0, connection::Blocked { reason: short("low on disk") }).await;
    all_idle().await;
    assert_told(&told.take(), "WARN", None, "the broker accepts no publishes reason=\"low on disk\"");
    peer.send(0, connection::Unblocked {}).await;
    all_idle().await;
    assert_told(&told.take(), "INFO", None, "accepts publishes again");

    let close =
        channel::Close { reply_code: 404, reply_text: short("NOT_FOUND - no queue"), ..Default::default() };
    peer.send(1, close).await;
    ends(channel.closed()).await;
    assert_told(
        &told.take(),
        "WARN",
        Some(1),
        "the channel is closed; the connection goes on reason=the broker closed channel 1: 404",
    );
    let event = std::iter::from_fn(|| events.recv().now_or_never().flatten()).last();
    assert!(matches!(event, Some(Event::ChannelClosed { channel: 1, reason: Error::ChannelClosed { .. } })));

    let close = connection::Close { reply_code: 320, ..Default::default() };
    peer.expect(1, channel::CloseOk {}).await;
    peer.send(0, close).await;
    ends(connection.closed()).await;
    assert_told(
        &told.take(),
        "WARN",
        None,
        "the broker closed the connection reason=the broker closed the connection: 320",
    );
}

#[tokio::test(start_paused = true)]
async fn a_close_by_the_user_is_no_warning() {
    let (told, _guard) = Told::listen();
    let options = ConnectOptions::new().name("billing").heartbeat(Duration::ZERO);
    let (mut peer, connection) = connected(&options, QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    told.take();
    let (closed, ()) = join!(channel.close(), async {
        peer.expect_any::<channel::Close>(1).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    closed.unwrap();
    assert_eq!(told.take(), "");
    let (closed, ()) = join!(connection.close(), async {
        peer.expect_any::<connection::Close>(0).await;
        peer.send(0, connection::CloseOk {}).await;
    });
    closed.unwrap();
    assert_told(&told.take(), "INFO", None, "this client closed the connection");
}

#[tokio::test(start_paused = true)]
async fn missed_heartbeats_and_deliveries_held_are_warned_of() {
    let (told, _guard) = Told::listen();
    let options = ConnectOptions::new()
        .name("billing")
        .heartbeat(Duration::from_secs(10))
        .warn_unacked_after(Duration::from_secs(4));
    let (mut peer, connection) = connected(&options, Tune { heartbeat: 10, ..QUIET }).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1]).await;
    let held = ends(consumer.recv()).await.unwrap().unwrap();
    told.take();
    peer.expect_heartbeat().await;
    peer.send_bytes(&HEARTBEAT[..]).await;
    all_idle().await;
    assert_told(
        &told.take(),
        "WARN",
        Some(1),
        "a delivery stays unsettled for long; the broker may close the channel held=5",
    );
    held.ack().await.unwrap();
    ends(connection.closed()).await;
    assert_told(&told.take(), "WARN", None, "the connection ended because the broker was silent");
}

/// The connection is made in a span of the user, which ends long before it.
#[tokio::test(start_paused = true)]
async fn the_connections_span_is_a_root_and_messages_are_not_told_of() {
    let (told, _guard) = Told::listen();
    let span = tracing::info_span!("request");
    let options = ConnectOptions::new().name("billing").heartbeat(Duration::ZERO);
    let (mut peer, connection) = {
        use tracing::Instrument as _;
        connected(&options, QUIET).instrument(span).await
    };
    assert!(!told.take().contains("request"));
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    told.take();
    for tag in 1..=10 {
        let confirm = publisher.publish(("", "jobs"), Message::new("m")).await.unwrap();
        send_deliveries(&mut peer, "c", [tag]).await;
        ends(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
        drop(confirm);
    }
    assert_eq!(told.take(), "");
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_told_whatever_goes_wrong() {
    let (told, _guard) = Told::listen();
    let uri = uri();
    // A login is refused.
    let (mut peer, stream) = Peer::new();
    let options = ConnectOptions::new();
    let (refused, ()) = join!(options.connect_stream(stream, &uri), async {
        peer.greet().await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, connection::Close { reply_code: 403, ..Default::default() }).await;
    });
    let refused = error(refused);
    assert!(matches!(refused, Error::LoginRefused { .. }), "{refused}");
    let text = told.take();
    assert!(text.contains("DEBUG") && !text.contains("WARN"), "the caller has the error: {text}");

    // Credentials are renewed, by hand and by a provider.
    let provider = || async {
        let credentials = Credentials::new("alice", PASSWORD).valid_for(Duration::from_secs(5));
        Ok(credentials)
    };
    let options = ConnectOptions::new().name("billing").heartbeat(Duration::ZERO).credentials_from(provider);
    let (mut peer, connection) = connected(&options, QUIET).await;
    let (updated, ()) = join!(connection.update_secret(Password::from(RENEWED), "renewed"), async {
        peer.expect_any::<connection::UpdateSecret>(0).await;
        peer.send(0, connection::UpdateSecretOk {}).await;
    });
    updated.unwrap();
    peer.expect_any::<connection::UpdateSecret>(0).await;
    peer.send(0, connection::UpdateSecretOk {}).await;
    all_idle().await;
    let text = told.take();
    assert!(text.contains("the credentials are renewed"), "{text}");

    // The handles' own output must not show them either.
    let shown = format!("{connection:?} {uri} {uri:?} {options:?} {refused:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
}
