//! A client that can send any frame, in any order and number, without waiting for answers.

use std::io;

use amqp_codec::{
    Arguments, ContentHeader, Frame, LongString, Method, Properties, RawFrame, Request, Secret, ShortString,
    Table,
    borrowed::Publish,
    frame::{PROTOCOL_HEADER, encode_method},
    method::{basic, channel, confirm, connection, queue},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The frame_max that it asks for; every broker of the tests offers it.
pub const FRAME_MAX: usize = 131_072;

/// One connection of guest, without heartbeats, with channel 1 open.
///
/// It reads only while it waits for an answer. The waits have no deadline; the caller sets one.
///
/// # Errors
/// Every method fails when the stream does, and when another frame comes than it waits for; the
/// error shows that frame.
///
/// # On drop
/// The stream ends without a close.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    received: BytesMut,
    blocked: bool,
}

impl RawClient {
    /// Opens a connection to `address` (`host:port`) in a virtual host.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn connect(address: &str, vhost: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, received: BytesMut::new(), blocked: false };
        client.write(&PROTOCOL_HEADER).await?;
        client.expect::<connection::Start>(0).await?;
        client.send(0, start_ok()?).await?;
        let connection::Tune { channel_max, .. } = client.expect(0).await?;
        let frame_max = FRAME_MAX as u32;
        client.send(0, connection::TuneOk { channel_max, frame_max, heartbeat: 0 }).await?;
        client.call(0, connection::Open { virtual_host: short(vhost)?, ..Default::default() }).await?;
        client.open_channel(1).await?;
        Ok(client)
    }

    /// Opens one more channel.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn open_channel(&mut self, channel: u16) -> io::Result<()> {
        self.call(channel, channel::Open::default()).await.map(drop)
    }

    /// Puts channel 1 into confirm mode.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn select_confirms(&mut self) -> io::Result<()> {
        self.call(1, confirm::Select::default()).await.map(drop)
    }

    /// Tells whether the broker has sent `connection.blocked`, and not `connection.unblocked`
    /// since, as far as has been read.
    #[must_use]
    pub fn blocked(&self) -> bool {
        self.blocked
    }

    /// Sends bytes, which need not be valid.
    ///
    /// # Errors
    /// See [`RawClient`].
    ///
    /// # Cancel safety
    /// If dropped while pending, a part of them may have been sent.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a method.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn send<A: Arguments>(&mut self, channel: u16, method: A) -> io::Result<()> {
        let mut out = BytesMut::new();
        encode_method(channel, &method, FRAME_MAX, &mut out).map_err(io::Error::other)?;
        self.write(&out).await
    }

    /// Sends a method and waits for its answer, which must be the next frame on any channel.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn call<R: Request>(&mut self, channel: u16, request: R) -> io::Result<R::Reply> {
        self.send(channel, request).await?;
        self.expect(channel).await
    }

    /// Publishes on channel 1.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn publish(
        &mut self,
        exchange: &str,
        key: &str,
        properties: &Properties,
        body: &[u8],
    ) -> io::Result<()> {
        self.write(&publish(1, exchange, key, properties, body)?).await
    }

    /// Waits until the broker has confirmed the publishes up to `tag`, only by acks.
    ///
    /// # Errors
    /// See [`RawClient`]; a nack counts as another frame.
    pub async fn confirmed(&mut self, tag: u64) -> io::Result<()> {
        loop {
            let ack: basic::Ack = self.expect(1).await?;
            if ack.delivery_tag >= tag {
                return Ok(());
            }
        }
    }

    /// The number of ready messages in a queue. Everything before it on the channel is done when it
    /// returns.
    ///
    /// # Errors
    /// See [`RawClient`].
    pub async fn ready(&mut self, queue: &str) -> io::Result<u32> {
        let declare = queue::Declare { queue: short(queue)?, passive: true, ..Default::default() };
        Ok(self.call(1, declare).await?.message_count)
    }

    /// The next frame, except heartbeats and those that `blocked` reports.
    ///
    /// # Errors
    /// See [`RawClient`].
    ///
    /// # Cancel safety
    /// If dropped while pending, nothing is lost.
    pub async fn next(&mut self) -> io::Result<Frame> {
        loop {
            match self.next_of_all().await? {
                Frame::Heartbeat(_) => {}
                Frame::Method(0, Method::Connection(connection::Method::Blocked(_))) => self.blocked = true,
                Frame::Method(0, Method::Connection(connection::Method::Unblocked(_))) => {
                    self.blocked = false;
                }
                frame => return Ok(frame),
            }
        }
    }

    async fn next_of_all(&mut self) -> io::Result<Frame> {
        loop {
            let raw = RawFrame::split_from(&mut self.received, usize::MAX).map_err(io::Error::other)?;
            if let Some(raw) = raw {
                return raw.decode().map_err(io::Error::other);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next frame, which must be this method on this channel.
    ///
    /// # Errors
    /// See [`RawClient`].
    ///
    /// # Cancel safety
    /// If dropped while pending, nothing is lost.
    pub async fn expect<M>(&mut self, channel: u16) -> io::Result<M>
    where
        M: Arguments + TryFrom<Method, Error = Method>,
    {
        let unexpected = |frame: Frame| {
            io::Error::other(format!("{} was due on channel {channel}; got {frame:?}", M::NAME))
        };
        match self.next().await? {
            Frame::Method(on, method) if on == channel => {
                M::try_from(method).map_err(|method| unexpected(Frame::Method(on, method)))
            }
            frame => Err(unexpected(frame)),
        }
    }
}

/// A publish with its content, encoded.
///
/// # Errors
/// When names or properties are too long for their frames.
pub fn publish(
    channel: u16,
    exchange: &str,
    key: &str,
    properties: &Properties,
    body: &[u8],
) -> io::Result<BytesMut> {
    let mut out = BytesMut::new();
    let publish = Publish {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        mandatory: false,
        immediate: false,
    };
    publish.encode(channel, properties, body, FRAME_MAX, &mut out).map_err(io::Error::other)?;
    Ok(out)
}

/// A publish with its content header, without its body.
///
/// # Errors
/// When names or properties are too long for their frames.
pub fn publish_without_body(
    channel: u16,
    key: &str,
    properties: &Properties,
    body_size: u64,
) -> io::Result<BytesMut> {
    let mut out = BytesMut::new();
    let publish = basic::Publish { routing_key: short(key)?, ..Default::default() };
    encode_method(channel, &publish, FRAME_MAX, &mut out).map_err(io::Error::other)?;
    let properties = properties.encode().map_err(io::Error::other)?;
    let header = ContentHeader { class_id: 60, body_size, properties };
    Frame::Header(channel, header).encode(FRAME_MAX, &mut out).map_err(io::Error::other)?;
    Ok(out)
}

/// A part of a body as a frame.
///
/// # Errors
/// When it is too long for a frame.
pub fn body_part(channel: u16, part: &[u8]) -> io::Result<BytesMut> {
    let mut out = BytesMut::new();
    let frame = Frame::Body(channel, Bytes::copy_from_slice(part));
    frame.encode(FRAME_MAX, &mut out).map_err(io::Error::other)?;
    Ok(out)
}

pub(crate) fn short(text: &str) -> io::Result<ShortString> {
    ShortString::try_from(text).map_err(io::Error::other)
}

fn start_ok() -> io::Result<connection::StartOk> {
    let mut capabilities = Table::new();
    for name in ["connection.blocked", "publisher_confirms", "basic.nack", "consumer_cancel_notify"] {
        capabilities.push(name, true).map_err(io::Error::other)?;
    }
    let mut client_properties = Table::new();
    client_properties.push("capabilities", capabilities).map_err(io::Error::other)?;
    Ok(connection::StartOk {
        client_properties,
        mechanism: ShortString::from_static("PLAIN"),
        response: Secret::from(LongString::from("\0guest\0guest")),
        locale: ShortString::from_static("en_US"),
    })
}
