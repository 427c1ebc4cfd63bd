//! The client against a scripted peer: sessions that no broker would lead, on a clock that the test
//! controls.
//!
//! Every test starts with the clock paused: it jumps to the next deadline when no task can run. A
//! session that hangs fails at once in real time, and at its deadline in its own time.
//!
//! `mistakes` has the table of what went wrong in other clients, and of the tests that prevent it
//! here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, too")]

mod calls;
mod confirms;
mod consuming;
mod draining;
mod dropped;
mod ends;
mod flow;
mod handshake;
mod heartbeats;
mod login;
mod marked;
mod mistakes;
mod obliging;
mod oversize;
mod prefetch;
mod traces;
mod transcripts;
mod unanswered;
mod violations;

use std::{future::Future, time::Duration};

use amqp_client::{Channel, ConnectOptions, Connection, ConsumeOptions, Consumer, Publisher, Result, Uri};
use amqp_codec::{
    Properties, ShortString, Tune,
    method::{basic, channel, confirm},
};
use tests::Peer;
use tokio::{join, time::timeout};

/// RabbitMQ's offer, without heartbeats.
const QUIET: Tune = Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };

/// Options that do not ask for heartbeats either.
fn quiet() -> ConnectOptions {
    ConnectOptions::new().heartbeat(Duration::ZERO)
}

async fn connected() -> (Peer, Connection) {
    connected_with(&quiet(), QUIET).await
}

async fn connected_with(options: &ConnectOptions, offer: Tune) -> (Peer, Connection) {
    let (mut peer, stream) = Peer::new();
    let uri = Uri::default();
    let (connection, _) = join!(options.connect_stream(stream, &uri), peer.accept_with(offer));
    (peer, connection.unwrap())
}

/// A connection with channel 1 open.
async fn session() -> (Peer, Connection, Channel) {
    let (mut peer, connection) = connected().await;
    let channel = opened(&mut peer, &connection, 1).await;
    (peer, connection, channel)
}

async fn opened(peer: &mut Peer, connection: &Connection, id: u16) -> Channel {
    let (channel, ()) = join!(connection.open_channel(), async {
        peer.expect(id, channel::Open::default()).await;
        peer.send(id, channel::OpenOk::default()).await;
    });
    let channel = channel.unwrap();
    assert_eq!(channel.id(), id);
    channel
}

async fn publisher(peer: &mut Peer, channel: &Channel) -> Publisher {
    let (publisher, ()) = join!(channel.publisher(), async {
        peer.expect(channel.id(), confirm::Select { no_wait: false }).await;
        peer.send(channel.id(), confirm::SelectOk {}).await;
    });
    publisher.unwrap()
}

/// A consumer of the queue `jobs` with this tag.
async fn consumer(peer: &mut Peer, channel: &Channel, tag: &'static str) -> Consumer {
    consumer_with(peer, channel, tag, ConsumeOptions::new()).await
}

/// The same with these options.
async fn consumer_with(
    peer: &mut Peer,
    channel: &Channel,
    tag: &'static str,
    options: ConsumeOptions,
) -> Consumer {
    let consuming = channel.consume("jobs", options.tag(tag));
    let (consumer, ()) = join!(consuming, async {
        peer.expect_any::<basic::Qos>(channel.id()).await;
        let consume: basic::Consume = peer.expect_any(channel.id()).await;
        assert_eq!(consume.consumer_tag, tag);
        let ok = basic::ConsumeOk { consumer_tag: short(tag) };
        peer.send_frames(vec![
            amqp_codec::Frame::Method(channel.id(), basic::QosOk {}.into()),
            amqp_codec::Frame::Method(channel.id(), ok.into()),
        ])
        .await;
    });
    consumer.unwrap()
}

fn deliver(tag: &'static str, delivery_tag: u64) -> basic::Deliver {
    basic::Deliver {
        consumer_tag: short(tag),
        delivery_tag,
        redelivered: false,
        exchange: ShortString::EMPTY,
        routing_key: short("jobs"),
    }
}

/// Sends deliveries with these tags in one write; their bodies are their tags.
async fn send_deliveries(peer: &mut Peer, tag: &'static str, tags: impl IntoIterator<Item = u64>) {
    let content = |number: u64| {
        tests::peer::content(1, deliver(tag, number), &Properties::default(), number.to_string(), 131_072)
    };
    peer.send_frames(tags.into_iter().flat_map(content).collect()).await;
}

fn short(text: &'static str) -> ShortString {
    ShortString::from_static(text)
}

/// The future's output. The test fails if it takes longer than the deadlines that are tested.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3600), future).await.unwrap_or_else(|_| panic!("waited for an hour"))
}

/// Waits until no task can run: only then does the paused clock move.
async fn all_idle() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}

/// The error of a result that must be one.
fn error<T>(result: Result<T>) -> amqp_client::Error {
    match result {
        Err(error) => error,
        Ok(_) => panic!("an error was due"),
    }
}
