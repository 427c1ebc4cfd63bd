//! A scripted broker on a stream in memory: a test reads like the transcript of its session.
//!
//! ```no_run
//! # async fn test() -> amqp_client::Result<()> {
//! use amqp_client::{ConnectOptions, Queue, Uri};
//! use amqp_codec::{ShortString, method::{channel, queue}};
//! use tests::Peer;
//!
//! let (mut peer, stream) = Peer::new();
//! let uri = Uri::default();
//! let options = ConnectOptions::new();
//! let (connection, _) = tokio::join!(options.connect_stream(stream, &uri), peer.accept());
//! let connection = connection?;
//!
//! let opening = connection.open_channel();
//! let (channel, ()) = tokio::join!(opening, async {
//!     peer.expect(1, channel::Open::default()).await;
//!     peer.send(1, channel::OpenOk::default()).await;
//! });
//! # channel?;
//! # Ok(())
//! # }
//! ```
//!
//! Anything else than what the script expects fails the test, and so does silence.

#![allow(clippy::panic, reason = "a session that leaves its script fails the test")]

use std::{fmt, future::Future, panic::Location, time::Duration};

use amqp_codec::{
    Arguments, ContentHeader, EncodedProperties, Frame, Method, Properties, RawFrame, Table, Tune,
    content::body_frame_sizes, frame::PROTOCOL_HEADER, method::connection,
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::timeout,
};

/// How long each expectation waits. It is virtual time if the test controls the clock.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far either side may be ahead of the other, in bytes.
const STREAM_BUFFER: usize = 1 << 20;

/// The broker's side of one connection.
///
/// All waits have a deadline. They panic, naming the line of the script, when something else comes
/// or nothing does.
///
/// # On drop
/// The stream ends, as that of a broker that died.
#[derive(Debug)]
pub struct Peer {
    stream: DuplexStream,
    received: BytesMut,
    frame_max: usize,
    capabilities: Vec<&'static str>,
}

/// RabbitMQ's capabilities, as far as clients use them.
const CAPABILITIES: [&str; 5] =
    ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "connection.blocked", "per_consumer_qos"];

/// The client's part of the handshake.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its introduction and login.
    pub start_ok: connection::StartOk,
    /// The limits it chose.
    pub tune_ok: connection::TuneOk,
    /// The virtual host it opened.
    pub open: connection::Open,
}

impl Peer {
    /// The stream itself, for a broker without a script. Nothing unexpected may have been received.
    ///
    /// # Panics
    /// When something was.
    #[must_use]
    pub fn into_stream(self) -> DuplexStream {
        assert!(self.received.is_empty(), "{} bytes were received and not expected", self.received.len());
        self.stream
    }

    /// Creates a peer, and the stream for the client.
    #[must_use]
    pub fn new() -> (Self, DuplexStream) {
        let (stream, clients) = duplex(STREAM_BUFFER);
        let (received, capabilities) = (BytesMut::new(), CAPABILITIES.to_vec());
        (Self { stream, received, frame_max: 131_072, capabilities }, clients)
    }

    /// Omits this capability.
    pub fn lack(&mut self, capability: &str) {
        self.capabilities.retain(|has| *has != capability);
    }

    /// Does the handshake like RabbitMQ, with its default limits: 2047 channels, frames of 128 KiB,
    /// 60 s.
    #[track_caller]
    pub fn accept(&mut self) -> impl Future<Output = Accepted> {
        self.accept_with(Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 })
    }

    /// Does the handshake with these limits.
    #[track_caller]
    pub fn accept_with(&mut self, offer: Tune) -> impl Future<Output = Accepted> {
        let script = Location::caller();
        async move {
            self.start(script).await;
            let start_ok = self.method(script, 0).await;
            let Tune { channel_max, frame_max, heartbeat } = offer;
            self.write(script, &[on_connection(connection::Tune { channel_max, frame_max, heartbeat })])
                .await;
            let tune_ok: connection::TuneOk = self.method(script, 0).await;
            self.frame_max = match tune_ok.frame_max {
                0 => usize::MAX,
                limit => limit as usize,
            };
            let open = self.method(script, 0).await;
            self.write(script, &[on_connection(connection::OpenOk::default())]).await;
            Accepted { start_ok, tune_ok, open }
        }
    }

    /// Waits for the protocol header and sends `connection.start`.
    #[track_caller]
    pub fn greet(&mut self) -> impl Future<Output = ()> {
        let script = Location::caller();
        async move { self.start(script).await }
    }

    /// Waits for the protocol header.
    #[track_caller]
    pub fn expect_protocol_header(&mut self) -> impl Future<Output = ()> {
        let script = Location::caller();
        async move { self.protocol_header(script).await }
    }

    /// Waits for exactly this method.
    #[track_caller]
    pub fn expect<M: Into<Method>>(&mut self, channel: u16, method: M) -> impl Future<Output = ()> {
        let expected = Frame::Method(channel, method.into());
        self.expect_frame(expected)
    }

    /// Waits for a method of this kind and returns it.
    #[track_caller]
    pub fn expect_any<M>(&mut self, channel: u16) -> impl Future<Output = M>
    where
        M: Arguments + TryFrom<Method, Error = Method>,
    {
        let script = Location::caller();
        async move { self.method(script, channel).await }
    }

    /// Waits for a frame of any kind.
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = Frame> {
        let script = Location::caller();
        async move { self.next_frame(script, &"a frame").await }
    }

    /// Waits for a frame of any kind; `None` when the client ends the stream instead.
    #[track_caller]
    pub fn receive_unless_ended(&mut self) -> impl Future<Output = Option<Frame>> {
        let script = Location::caller();
        async move {
            match self.read_frame().await {
                Ok(frame) => Some(frame),
                Err(Missing::End) => None,
                Err(missing) => fail(script, &format_args!("a frame was due, or the end; {missing}")),
            }
        }
    }

    /// Waits for a content header of this body size and returns the properties.
    #[track_caller]
    pub fn expect_header(&mut self, channel: u16, body_size: u64) -> impl Future<Output = Properties> {
        let script = Location::caller();
        async move {
            let frame = self.next_frame(script, &format_args!("a content header on channel {channel}")).await;
            match frame {
                Frame::Header(on, header) if on == channel && header.body_size == body_size => {
                    header.properties.decode().unwrap_or_else(|error| fail(script, &error))
                }
                other => fail(
                    script,
                    &format_args!(
                        "a header of {body_size} bytes on channel {channel} was due; got {other:?}"
                    ),
                ),
            }
        }
    }

    /// Waits for a body frame with these bytes.
    #[track_caller]
    pub fn expect_body(&mut self, channel: u16, body: impl Into<Bytes>) -> impl Future<Output = ()> {
        self.expect_frame(Frame::Body(channel, body.into()))
    }

    /// Waits for a heartbeat.
    #[track_caller]
    pub fn expect_heartbeat(&mut self) -> impl Future<Output = ()> {
        self.expect_frame(Frame::Heartbeat(0))
    }

    /// Waits until the client has ended the stream, without anything before.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let script = Location::caller();
        async move {
            match self.read_frame().await {
                Err(Missing::End) => {}
                Err(missing) => fail(script, &format_args!("the end of the stream was due; {missing}")),
                Ok(frame) => fail(script, &format_args!("the end of the stream was due; got {frame:?}")),
            }
        }
    }

    /// Waits this long, while nothing may come; for tests that control the clock.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> {
        let script = Location::caller();
        async move {
            if let Ok(result) = timeout(duration, self.read_frame_patiently()).await {
                fail(script, &format_args!("silence was due; got {result:?}"));
            }
        }
    }

    /// Sends a method.
    #[track_caller]
    pub fn send<M: Into<Method>>(&mut self, channel: u16, method: M) -> impl Future<Output = ()> {
        self.send_frames(vec![Frame::Method(channel, method.into())])
    }

    /// Sends a method with its content.
    #[track_caller]
    pub fn send_content<M: Into<Method>>(
        &mut self,
        channel: u16,
        method: M,
        properties: &Properties,
        body: impl Into<Bytes>,
    ) -> impl Future<Output = ()> {
        let frames = content(channel, method, properties, body, self.frame_max);
        self.send_frames(frames)
    }

    /// Sends frames in one write, so that one read can take them all.
    #[track_caller]
    pub fn send_frames(&mut self, frames: Vec<Frame>) -> impl Future<Output = ()> {
        let script = Location::caller();
        async move { self.write(script, &frames).await }
    }

    /// Sends bytes, which need not be valid.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: impl Into<Bytes>) -> impl Future<Output = ()> {
        let script = Location::caller();
        let bytes = bytes.into();
        async move { self.write_bytes(script, &bytes).await }
    }

    #[track_caller]
    fn expect_frame(&mut self, expected: Frame) -> impl Future<Output = ()> {
        let script = Location::caller();
        async move {
            let frame = self.next_frame(script, &format_args!("{expected:?}")).await;
            if frame != expected {
                fail(script, &format_args!("{expected:?} was due; got {frame:?}"));
            }
        }
    }

    async fn start(&mut self, script: &'static Location<'static>) {
        self.protocol_header(script).await;
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(&self.capabilities),
            mechanisms: "AMQPLAIN PLAIN".into(),
            locales: "en_US".into(),
        };
        self.write(script, &[on_connection(start)]).await;
    }

    async fn protocol_header(&mut self, script: &'static Location<'static>) {
        let mut header = [0; PROTOCOL_HEADER.len()];
        match timeout(PATIENCE, self.stream.read_exact(&mut header)).await {
            Ok(Ok(_)) if header == PROTOCOL_HEADER => {}
            other => fail(script, &format_args!("the protocol header was due; got {header:?} ({other:?})")),
        }
    }

    async fn method<M>(&mut self, script: &'static Location<'static>, channel: u16) -> M
    where
        M: Arguments + TryFrom<Method, Error = Method>,
    {
        let expected = format!("{} on channel {channel}", M::NAME);
        match self.next_frame(script, &expected).await {
            Frame::Method(on, method) if on == channel => M::try_from(method)
                .unwrap_or_else(|other| fail(script, &format_args!("{expected} was due; got {other:?}"))),
            other => fail(script, &format_args!("{expected} was due; got {other:?}")),
        }
    }

    async fn next_frame(&mut self, script: &Location<'_>, expected: &dyn fmt::Display) -> Frame {
        let frame = self.read_frame().await;
        frame.unwrap_or_else(|missing| fail(script, &format_args!("{expected} was due; {missing}")))
    }

    async fn read_frame(&mut self) -> Result<Frame, Missing> {
        timeout(PATIENCE, self.read_frame_patiently()).await.unwrap_or(Err(Missing::Late))
    }

    async fn read_frame_patiently(&mut self) -> Result<Frame, Missing> {
        loop {
            let raw = RawFrame::split_from(&mut self.received, self.frame_max).map_err(Missing::Broken)?;
            if let Some(raw) = raw {
                return raw.decode().map_err(Missing::Broken);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(Missing::End),
                Ok(_) => {}
                Err(error) => return Err(Missing::Failed(error)),
            }
        }
    }

    async fn write(&mut self, script: &Location<'_>, frames: &[Frame]) {
        let mut bytes = BytesMut::new();
        for frame in frames {
            if let Err(error) = frame.encode(usize::MAX, &mut bytes) {
                fail(script, &error);
            }
        }
        self.write_bytes(script, &bytes).await;
    }

    async fn write_bytes(&mut self, script: &Location<'_>, bytes: &[u8]) {
        match timeout(PATIENCE, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fail(script, &format_args!("the client takes no more bytes: {error}")),
            Err(_) => fail(script, &format_args!("the client takes no more bytes within {PATIENCE:?}")),
        }
    }
}

/// The frames of a method with its content, for clients of this frame_max.
///
/// # Panics
/// When the properties cannot be written.
#[track_caller]
pub fn content<M: Into<Method>>(
    channel: u16,
    method: M,
    properties: &Properties,
    body: impl Into<Bytes>,
    frame_max: usize,
) -> Vec<Frame> {
    let script = Location::caller();
    let body = body.into();
    let properties = properties.encode().unwrap_or_else(|error| fail(script, &error));
    let mut frames =
        vec![Frame::Method(channel, method.into()), content_header(channel, body.len() as u64, properties)];
    let mut rest = body.clone();
    for size in body_frame_sizes(body.len(), frame_max) {
        frames.push(Frame::Body(channel, rest.split_to(size)));
    }
    frames
}

/// A content header with any body size.
pub fn content_header(channel: u16, body_size: u64, properties: EncodedProperties) -> Frame {
    Frame::Header(channel, ContentHeader { class_id: 60, body_size, properties })
}

fn on_connection(method: impl Into<Method>) -> Frame {
    Frame::Method(0, method.into())
}

fn server_properties(announced: &[&str]) -> Table {
    let mut capabilities = Table::new();
    let mut properties = Table::new();
    let filled = announced
        .iter()
        .try_for_each(|name| capabilities.push(name, true))
        .and_then(|()| properties.push("product", "scripted peer"))
        .and_then(|()| properties.push("capabilities", capabilities));
    debug_assert!(filled.is_ok(), "{filled:?}");
    properties
}

/// Why there is no frame.
#[derive(Debug)]
enum Missing {
    Late,
    End,
    Failed(std::io::Error),
    Broken(amqp_codec::Error),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Late => write!(f, "nothing came within {PATIENCE:?}"),
            Missing::End => f.write_str("the client ended the stream"),
            Missing::Failed(error) => write!(f, "the stream failed: {error}"),
            Missing::Broken(error) => write!(f, "the client sent no frame: {error}"),
        }
    }
}

fn fail(script: &Location<'_>, what: &dyn fmt::Display) -> ! {
    panic!("{script}: {what}")
}
