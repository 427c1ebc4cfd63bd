//! A scripted client.

use std::time::Duration;

use amqp_codec::{
    ContentHeader, Frame, LongString, Method, Properties, RawFrame, Request, Secret, ShortString, Table,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, connection, queue},
    sasl,
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    broker::Broker,
    server::{origin::Origin, serve},
};

pub(super) const FRAME_MAX: usize = 131_072;

/// A client at the other end of a stream.
pub(super) struct Peer {
    stream: Box<dyn Stream>,
    input: BytesMut,
}

/// The stream of a peer.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A received message.
#[derive(Debug, PartialEq)]
pub(super) struct Came<M> {
    pub(super) method: M,
    pub(super) header: ContentHeader,
    pub(super) body: Bytes,
}

pub(super) fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

/// All capabilities that a client may have.
pub(super) fn capabilities() -> Table {
    let mut capabilities = Table::new();
    for name in ["consumer_cancel_notify", "connection.blocked", "authentication_failure_close", "basic.nack"]
    {
        capabilities.insert(name, true).unwrap();
    }
    let mut properties = Table::new();
    properties.insert("capabilities", capabilities).unwrap();
    properties
}

pub(super) fn start_ok(user: &str, password: &str) -> connection::StartOk {
    connection::StartOk {
        client_properties: capabilities(),
        mechanism: short("PLAIN"),
        response: sasl::plain(user, password),
        locale: short("en_US"),
    }
}

impl Peer {
    /// A stream on which nothing has been sent.
    pub(super) fn silent(broker: &Broker) -> Self {
        Peer { stream: Box::new(broker.connect()), input: BytesMut::new() }
    }

    /// A stream that seems to come from this address, on which nothing has been sent.
    pub(super) fn silent_from(broker: &Broker, address: &str) -> Self {
        let (client, server) = tokio::io::duplex(64 << 10);
        serve(server, Origin::address(address.parse().unwrap(), None), None, &broker.inner);
        Peer { stream: Box::new(client), input: BytesMut::new() }
    }

    /// A stream to a broker elsewhere, on which nothing has been sent.
    pub(super) async fn silent_at(address: &str) -> Self {
        Peer { stream: Box::new(TcpStream::connect(address).await.unwrap()), input: BytesMut::new() }
    }

    /// Opens a connection with channel 1.
    pub(super) async fn open(broker: &Broker) -> Self {
        let mut peer = Self::greet(broker, "/", FRAME_MAX as u32).await;
        peer.call(1, channel::Open::default()).await;
        peer
    }

    /// Opens a connection with channel 1 to a broker elsewhere.
    pub(super) async fn open_at(address: &str) -> Self {
        let mut peer = Self::silent_at(address).await;
        peer.log_in("/", FRAME_MAX as u32).await;
        peer.call(1, channel::Open::default()).await;
        peer
    }

    /// Opens a connection without channels.
    pub(super) async fn greet(broker: &Broker, vhost: &str, frame_max: u32) -> Self {
        let mut peer = Self::silent(broker);
        peer.log_in(vhost, frame_max).await;
        peer
    }

    /// Does the handshake.
    pub(super) async fn log_in(&mut self, vhost: &str, frame_max: u32) {
        self.log_in_as(start_ok("guest", "guest"), vhost, frame_max).await;
    }

    /// Does the handshake as another user.
    pub(super) async fn log_in_as(&mut self, start_ok: connection::StartOk, vhost: &str, frame_max: u32) {
        self.agree(start_ok, vhost, frame_max, 0).await;
    }

    /// Does the handshake and agrees to heartbeats.
    pub(super) async fn log_in_with_heartbeat(&mut self, heartbeat: u16) {
        self.agree(start_ok("guest", "guest"), "/", FRAME_MAX as u32, heartbeat).await;
    }

    async fn agree(&mut self, start_ok: connection::StartOk, vhost: &str, frame_max: u32, heartbeat: u16) {
        self.raw(&PROTOCOL_HEADER).await;
        self.go_on(start_ok, vhost, frame_max, heartbeat).await;
    }

    /// Does the rest of the handshake after the protocol header.
    pub(super) async fn go_on(
        &mut self,
        start_ok: connection::StartOk,
        vhost: &str,
        frame_max: u32,
        heartbeat: u16,
    ) {
        let peer = self;
        peer.expect::<connection::Start>(0).await;
        peer.send(0, start_ok).await;
        let tune = peer.expect::<connection::Tune>(0).await;
        peer.send(0, connection::TuneOk { channel_max: tune.channel_max, frame_max, heartbeat }).await;
        peer.call(0, connection::Open { virtual_host: short(vhost), ..Default::default() }).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) async fn send(&mut self, channel: u16, method: impl Into<Method>) {
        self.frame(&Frame::Method(channel, method.into())).await;
    }

    pub(super) async fn frame(&mut self, frame: &Frame) {
        let mut out = BytesMut::new();
        frame.encode(usize::MAX, &mut out).unwrap();
        self.raw(&out).await;
    }

    /// Sends a method and awaits its answer.
    pub(super) async fn call<R: Request>(&mut self, channel: u16, request: R) -> R::Reply
    where
        R::Reply: std::fmt::Debug,
    {
        self.send(channel, request).await;
        self.expect::<R::Reply>(channel).await
    }

    pub(super) async fn publish(&mut self, exchange: &str, key: &str, body: &str) {
        self.publish_with(exchange, key, Properties::default(), true, body.as_bytes()).await;
    }

    pub(super) async fn publish_with(
        &mut self,
        exchange: &str,
        key: &str,
        properties: Properties,
        mandatory: bool,
        body: &[u8],
    ) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            mandatory,
            ..Default::default()
        };
        self.send(1, publish).await;
        let header = ContentHeader {
            class_id: 60,
            body_size: body.len() as u64,
            properties: properties.encode().unwrap(),
        };
        self.frame(&Frame::Header(1, header)).await;
        for part in body.chunks(FRAME_MAX - 8) {
            self.frame(&Frame::Body(1, Bytes::copy_from_slice(part))).await;
        }
    }

    /// Ends writing, but not reading.
    pub(super) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next frame that is not a heartbeat; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(raw) = RawFrame::split_from(&mut self.input, FRAME_MAX).unwrap() {
                match raw.decode().unwrap() {
                    Frame::Heartbeat(_) => continue,
                    frame => return Some(frame),
                }
            }
            let read = self.stream.read_buf(&mut self.input);
            let count = timeout(Duration::from_secs(60), read).await.expect("nothing came").ok()?;
            if count == 0 {
                return None;
            }
        }
    }

    /// Reads at most so many octets of what is there, and waits for no more.
    pub(super) async fn sip(&mut self, count: usize) {
        let mut octets = vec![0; count];
        let read = timeout(Duration::from_millis(1), self.stream.read(&mut octets)).await;
        let count = read.map_or(0, |read| read.unwrap_or(0));
        self.input.extend_from_slice(&octets[..count]);
    }

    /// The next octets, unparsed.
    pub(super) async fn octets(&mut self, count: usize) -> Vec<u8> {
        while self.input.len() < count {
            let read = self.stream.read_buf(&mut self.input);
            assert_ne!(timeout(Duration::from_secs(10), read).await.expect("nothing came").unwrap(), 0);
        }
        self.input.split_to(count).to_vec()
    }

    /// All octets until the end of the stream.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.input).to_vec();
        timeout(Duration::from_secs(30), self.stream.read_to_end(&mut rest)).await.expect("no end").unwrap();
        rest
    }

    /// The next frame, which must be this method on this channel.
    pub(super) async fn expect<M: TryFrom<Method>>(&mut self, channel: u16) -> M {
        match self.next().await {
            Some(Frame::Method(number, method)) if number == channel => {
                let text = format!("{method:?}");
                M::try_from(method).unwrap_or_else(|_| panic!("not this: {text}"))
            }
            other => panic!("no method on channel {channel}: {other:?}"),
        }
    }

    /// The next frames, which must be a method with content.
    pub(super) async fn expect_content<M: TryFrom<Method>>(&mut self) -> Came<M> {
        let method = self.expect(1).await;
        let Some(Frame::Header(1, header)) = self.next().await else { panic!("no header") };
        let mut body = BytesMut::new();
        while body.len() < header.body_size as usize {
            let Some(Frame::Body(1, part)) = self.next().await else { panic!("no body") };
            body.extend_from_slice(&part);
        }
        Came { method, header, body: body.freeze() }
    }

    pub(super) async fn declare(&mut self, queue: &str) {
        self.call(1, queue::Declare { queue: short(queue), ..Default::default() }).await;
    }

    /// Waits for the answer to a harmless request, so that everything before it is done.
    pub(super) async fn settle_down(&mut self) {
        self.call(1, channel::Flow { active: true }).await;
    }

    pub(super) async fn consume(&mut self, queue: &str, tag: &str) {
        let consume = basic::Consume { queue: short(queue), consumer_tag: short(tag), ..Default::default() };
        self.call(1, consume).await;
    }

    /// The next delivery: its tag, whether it is redelivered, and its body.
    pub(super) async fn delivery(&mut self) -> (u64, bool, String) {
        let came = self.expect_content::<basic::Deliver>().await;
        (came.method.delivery_tag, came.method.redelivered, String::from_utf8(came.body.to_vec()).unwrap())
    }

    /// The bodies of a queue's ready messages, which are not acknowledged.
    pub(super) async fn bodies(&mut self, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            self.send(1, basic::Get { queue: short(queue), no_ack: true, ..Default::default() }).await;
            match self.next().await {
                Some(Frame::Method(1, Method::Basic(basic::Method::GetOk(_)))) => {
                    let Some(Frame::Header(..)) = self.next().await else { panic!("no header") };
                    let Some(Frame::Body(_, body)) = self.next().await else { panic!("no body") };
                    bodies.push(String::from_utf8(body.to_vec()).unwrap());
                }
                Some(Frame::Method(1, Method::Basic(basic::Method::GetEmpty(_)))) => return bodies,
                other => panic!("neither get-ok nor get-empty: {other:?}"),
            }
        }
    }
}

/// An AMQPLAIN response: a table without its length.
pub(super) fn amqplain(user: &str, password: &str) -> Secret {
    let mut table = Table::new();
    table.insert("LOGIN", user).unwrap();
    table.insert("PASSWORD", password).unwrap();
    Secret::from(LongString::from(table.as_encoded().clone()))
}
