//! A broker that dies and comes back, as one scripted peer after the other.

use std::{future::Future, io, sync::Arc, time::Duration};

use amqp_client::{
    Backoff, Channel, ConnectOptions, Connection, ConsumeOptions, Consumer, Event, Events, Publisher,
    Recovered, Recovery, State, Uri,
};
use amqp_codec::{
    Frame, Properties, ShortString, Tune,
    method::{basic, channel, confirm},
};
use tests::Peer;
use tokio::{
    io::DuplexStream,
    join,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

/// RabbitMQ's offer, without heartbeats.
pub(super) const QUIET: Tune = Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };

/// The broker's side of a connection that is recovered.
pub(super) struct Broker {
    /// Where the next stream is requested; there is no answer while the broker is down.
    doors: UnboundedReceiver<Door>,
}

/// A request for a stream.
type Door = tokio::sync::oneshot::Sender<DuplexStream>;

impl Broker {
    /// Lets the next attempt to connect fail.
    pub(super) async fn refuse(&mut self) {
        drop(self.knock().await);
    }

    /// Connects the next attempt to a new peer.
    pub(super) async fn answer(&mut self) -> Peer {
        let (peer, stream) = Peer::new();
        self.knock().await.send(stream).expect("who knocked has gone");
        peer
    }

    /// As [`answer`](Self::answer), after the handshake.
    pub(super) async fn accept(&mut self) -> Peer {
        let mut peer = self.answer().await;
        peer.accept_with(QUIET).await;
        peer
    }

    /// Refuses the next attempt to connect; `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<()> {
        self.doors.recv().await.map(drop)
    }

    async fn knock(&mut self) -> Door {
        ends(self.doors.recv()).await.expect("the client has gone")
    }
}

/// A recovery with pauses of a second and no jitter, so that times are exact.
pub(super) fn recovery() -> Recovery {
    Recovery::new().backoff(Backoff::new(Duration::from_secs(1), Duration::from_secs(4)).jitter(false))
}

pub(super) fn options(recovery: Recovery) -> ConnectOptions {
    ConnectOptions::new().heartbeat(Duration::ZERO).recovery(recovery)
}

pub(super) async fn connected(recovery: Recovery) -> (Broker, Peer, Connection) {
    connected_with(&options(recovery)).await
}

pub(super) async fn connected_with(options: &ConnectOptions) -> (Broker, Peer, Connection) {
    let (mut broker, connecting) = connecting(options);
    let (connection, peer) = join!(connecting, broker.accept());
    (broker, peer, connection.unwrap())
}

/// A connection that is about to be made.
pub(super) fn connecting(
    options: &ConnectOptions,
) -> (Broker, impl Future<Output = amqp_client::Result<Connection>> + Send + 'static) {
    let (knocker, doors): (UnboundedSender<Door>, _) = unbounded_channel();
    let connector = move || {
        let knocker = knocker.clone();
        async move {
            let (door, stream) = tokio::sync::oneshot::channel();
            let down = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            knocker.send(door).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            stream.await.map_err(down)
        }
    };
    let options = options.clone();
    (Broker { doors }, async move { options.connect_with(connector, &Uri::default()).await })
}

pub(super) async fn opened(peer: &mut Peer, connection: &Connection, id: u16) -> Channel {
    let (channel, ()) = join!(connection.open_channel(), open(peer, id));
    channel.unwrap()
}

/// The client opens a channel, for the first time or again.
pub(super) async fn open(peer: &mut Peer, id: u16) {
    peer.expect(id, channel::Open::default()).await;
    peer.send(id, channel::OpenOk::default()).await;
}

pub(super) async fn publisher(peer: &mut Peer, channel: &Channel) -> Publisher {
    let (publisher, ()) = join!(channel.publisher(), select(peer, channel.id()));
    publisher.unwrap()
}

/// The client puts a channel into confirm mode, for the first time or again.
pub(super) async fn select(peer: &mut Peer, id: u16) {
    peer.expect(id, confirm::Select { no_wait: false }).await;
    peer.send(id, confirm::SelectOk {}).await;
}

/// A consumer of a queue with a prefetch of 7.
pub(super) async fn consumer(
    peer: &mut Peer,
    channel: &Channel,
    queue: &'static str,
    tag: &'static str,
) -> Consumer {
    let consuming = channel.consume(queue, ConsumeOptions::new().tag(tag).prefetch(7));
    let (consumer, ()) = join!(consuming, consume(peer, channel.id(), queue, tag));
    consumer.unwrap()
}

/// The client starts that consumer, for the first time or again.
pub(super) async fn consume(peer: &mut Peer, id: u16, queue: &'static str, tag: &'static str) {
    expect_consume(peer, id, queue, tag).await;
    let ok = basic::ConsumeOk { consumer_tag: short(tag) };
    peer.send_frames(vec![Frame::Method(id, basic::QosOk {}.into()), Frame::Method(id, ok.into())]).await;
}

pub(super) async fn expect_consume(peer: &mut Peer, id: u16, queue: &'static str, tag: &'static str) {
    peer.expect(id, basic::Qos { prefetch_count: 7, ..Default::default() }).await;
    let consume = basic::Consume { queue: short(queue), consumer_tag: short(tag), ..Default::default() };
    peer.expect(id, consume).await;
}

/// Sends a delivery whose body is its delivery tag.
pub(super) async fn deliver(
    peer: &mut Peer,
    id: u16,
    tag: &'static str,
    delivery_tag: u64,
    redelivered: bool,
) {
    let deliver = basic::Deliver {
        consumer_tag: short(tag),
        delivery_tag,
        redelivered,
        exchange: ShortString::EMPTY,
        routing_key: short("jobs"),
    };
    peer.send_content(id, deliver, &Properties::default(), delivery_tag.to_string()).await;
}

/// Expects a publish with this body; returns its properties.
pub(super) async fn expect_publish(peer: &mut Peer, id: u16, body: &'static str) -> Properties {
    peer.expect_any::<basic::Publish>(id).await;
    let properties = peer.expect_header(id, body.len() as u64).await;
    peer.expect_body(id, body).await;
    properties
}

/// The broker dies; waits until the client has noticed.
pub(super) async fn lose(peer: Peer, connection: &Connection) {
    drop(peer);
    while !matches!(connection.state(), State::Recovering { .. }) {
        tokio::task::yield_now().await;
    }
}

/// The result of the recovery.
pub(super) async fn recovered(events: &mut Events) -> Arc<Recovered> {
    loop {
        match ends(events.recv()).await.expect("the connection ended") {
            Event::Recovered(report) => return report,
            Event::Closed(reason) => panic!("not recovered: {reason}"),
            _ => {}
        }
    }
}

pub(super) fn short(text: &'static str) -> ShortString {
    ShortString::from_static(text)
}

/// The future's output. The test fails if it takes longer than the deadlines that are tested.
pub(super) async fn ends<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3600), future).await.expect("waited for an hour")
}
