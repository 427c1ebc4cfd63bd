//! A connection inside the process, which sends one method at a time.

use std::time::Duration;

use amqp_codec::{
    EncodedProperties, Frame, Method, Properties, RawFrame, ReplyCode, Request, Secret, ShortString, Table,
    frame::{PROTOCOL_HEADER, encode_content},
    method::{basic, channel, confirm, connection},
};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use super::got::GotMessage;
use crate::{
    broker::Broker,
    management::answer::api_error::ApiError,
    server::{origin::Origin, serve_as},
};

/// The frames of this connection, in octets.
const FRAME_MAX: usize = 131_072;

/// The one channel of a connection.
const CHANNEL: u16 = 1;

/// The time that the broker may take for one answer, for example while the disk is busy.
const ANSWER: Duration = Duration::from_secs(60);

/// The size of the buffer of the stream in each direction, in octets.
const STREAM_BUFFER: usize = 256 << 10;

/// A connection inside the process with one channel.
///
/// # On drop
/// The connection ends, and returns what it has not acknowledged.
pub(crate) struct Direct {
    stream: DuplexStream,
    input: BytesMut,
    frame_max: usize,
}

impl Direct {
    /// Opens a connection as this user, who has logged in otherwise, with a channel.
    ///
    /// # Errors
    /// When the user may not enter the virtual host, or there are too many connections.
    pub(crate) async fn open(broker: &Broker, user: &str, vhost: &str) -> Result<Self, ApiError> {
        let (client, server) = tokio::io::duplex(STREAM_BUFFER);
        serve_as(server, Origin::here(), user.to_owned(), &broker.inner);
        let mut direct = Direct { stream: client, input: BytesMut::new(), frame_max: FRAME_MAX };
        direct.write(&PROTOCOL_HEADER).await?;
        direct.expect::<connection::Start>().await?;
        let client_properties = properties()?;
        direct
            .send(
                0,
                connection::StartOk {
                    client_properties,
                    mechanism: ShortString::from_static("EXTERNAL"),
                    response: Secret::default(),
                    locale: ShortString::from_static("en_US"),
                },
            )
            .await?;
        let tune = direct.expect::<connection::Tune>().await?;
        let frame_max = if tune.frame_max == 0 { FRAME_MAX as u32 } else { tune.frame_max };
        direct.frame_max = frame_max as usize;
        direct.send(0, connection::TuneOk { channel_max: tune.channel_max, frame_max, heartbeat: 0 }).await?;
        let virtual_host = short(vhost)?;
        direct.send(0, connection::Open { virtual_host, ..Default::default() }).await?;
        direct.expect::<connection::OpenOk>().await?;
        direct.call(channel::Open::default()).await?;
        Ok(direct)
    }

    /// Calls a method on a connection of its own.
    ///
    /// # Errors
    /// As [`open`](Self::open), or when the broker refuses the method.
    pub(crate) async fn once<R: Request>(
        broker: &Broker,
        user: &str,
        vhost: &str,
        request: R,
    ) -> Result<R::Reply, ApiError> {
        let mut direct = Direct::open(broker, user, vhost).await?;
        let reply = direct.call(request).await?;
        direct.close().await;
        Ok(reply)
    }

    /// Calls a method, and awaits its answer.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub(crate) async fn call<R: Request>(&mut self, request: R) -> Result<R::Reply, ApiError> {
        self.send(CHANNEL, request).await?;
        self.expect::<R::Reply>().await
    }

    /// Publishes a message, and waits until the broker has it; returns whether a queue took it.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub(crate) async fn publish(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
        body: &[u8],
    ) -> Result<bool, ApiError> {
        self.call(confirm::Select::default()).await?;
        let publish = basic::Publish {
            exchange: short(exchange)?,
            routing_key: short(routing_key)?,
            mandatory: true,
            ..Default::default()
        };
        let encoded: EncodedProperties = properties.encode()?;
        let mut out = BytesMut::new();
        encode_content(CHANNEL, &publish, &encoded, body, self.frame_max, u64::MAX, &mut out)?;
        self.write(&out).await?;
        let mut is_routed = true;
        loop {
            match self.next().await? {
                Frame::Method(_, Method::Basic(basic::Method::Return(_))) => is_routed = false,
                Frame::Method(_, Method::Basic(basic::Method::Ack(_))) => return Ok(is_routed),
                Frame::Method(_, Method::Basic(basic::Method::Nack(_))) => return Ok(false),
                frame => refusal_of(&frame)?,
            }
        }
    }

    /// Fetches a message of a queue, if there is one.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub(crate) async fn get(&mut self, queue: &str, no_ack: bool) -> Result<Option<GotMessage>, ApiError> {
        self.send(CHANNEL, basic::Get { queue: short(queue)?, no_ack, ..Default::default() }).await?;
        let ok = loop {
            match self.next().await? {
                Frame::Method(_, Method::Basic(basic::Method::GetOk(ok))) => break ok,
                Frame::Method(_, Method::Basic(basic::Method::GetEmpty(_))) => return Ok(None),
                frame => refusal_of(&frame)?,
            }
        };
        let header = loop {
            match self.next().await? {
                Frame::Header(_, header) => break header,
                frame => refusal_of(&frame)?,
            }
        };
        let mut body = BytesMut::new();
        while (body.len() as u64) < header.body_size {
            match self.next().await? {
                Frame::Body(_, part) => body.extend_from_slice(&part),
                frame => refusal_of(&frame)?,
            }
        }
        Ok(Some(GotMessage {
            tag: ok.delivery_tag,
            redelivered: ok.redelivered,
            exchange: ok.exchange.to_string(),
            routing_key: ok.routing_key.to_string(),
            remaining: ok.message_count,
            properties: header.properties.decode()?,
            body: body.freeze(),
        }))
    }

    /// Returns all messages up to this one to their queue, or drops them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) async fn nack_all(&mut self, delivery_tag: u64, requeue: bool) -> Result<(), ApiError> {
        self.send(CHANNEL, basic::Nack { delivery_tag, multiple: true, requeue }).await?;
        // The answer tells that it is done.
        self.call(channel::Flow { active: true }).await.map(drop)
    }

    /// Ends the connection in an orderly way.
    pub(crate) async fn close(mut self) {
        let close = connection::Close { reply_code: 200, ..Default::default() };
        if self.send(0, close).await.is_ok() {
            // Whether the answer comes is of no importance.
            let _ = self.expect::<connection::CloseOk>().await;
        }
    }

    async fn send(&mut self, channel: u16, method: impl Into<Method>) -> Result<(), ApiError> {
        let mut out = BytesMut::new();
        Frame::Method(channel, method.into()).encode(self.frame_max, &mut out)?;
        self.write(&out).await
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), ApiError> {
        let written = timeout(ANSWER, self.stream.write_all(octets)).await;
        written.map_err(|_| lost())?.map_err(|_| lost())
    }

    /// The next frame that is this method.
    async fn expect<M: TryFrom<Method>>(&mut self) -> Result<M, ApiError> {
        loop {
            let frame = self.next().await?;
            refusal_of(&frame)?;
            if let Frame::Method(_, method) = frame
                && let Ok(method) = M::try_from(method)
            {
                return Ok(method);
            }
        }
    }

    async fn next(&mut self) -> Result<Frame, ApiError> {
        loop {
            if let Some(raw) = RawFrame::split_from(&mut self.input, self.frame_max)? {
                return Ok(raw.decode()?);
            }
            let read = timeout(ANSWER, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| lost())?.map_err(|_| lost())? == 0 {
                return Err(lost());
            }
        }
    }
}

/// The error of a frame that closes the channel or the connection.
fn refusal_of(frame: &Frame) -> Result<(), ApiError> {
    match frame {
        Frame::Method(_, Method::Channel(channel::Method::Close(close))) => {
            Err(ApiError::Refused(ReplyCode(close.reply_code), close.reply_text.to_text().into_owned()))
        }
        Frame::Method(_, Method::Connection(connection::Method::Close(close))) => {
            Err(ApiError::Refused(ReplyCode(close.reply_code), close.reply_text.to_text().into_owned()))
        }
        _ => Ok(()),
    }
}

/// The properties of this client, which the broker shows.
fn properties() -> Result<Table, amqp_codec::Error> {
    let mut capabilities = Table::new();
    capabilities.insert("authentication_failure_close", true)?;
    let mut properties = Table::new();
    properties.insert("capabilities", capabilities)?;
    properties.insert("connection_name", "management")?;
    Ok(properties)
}

/// A name that fits into AMQP.
///
/// # Errors
/// When it is too long.
pub(crate) fn short(text: &str) -> Result<ShortString, ApiError> {
    Ok(ShortString::try_from(text)?)
}

fn lost() -> ApiError {
    ApiError::Unavailable("the broker has closed the connection".to_owned())
}
