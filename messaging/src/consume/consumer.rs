//! Consumers of one queue: raw messages, and messages decoded to a type.

use std::{
    borrow::Cow,
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
};

use amqp_client::{Channel, ConsumeOptions, StreamOffset};
use amqp_codec::{Properties, borrowed::ContentProperties};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::{
    compress,
    consume::settle::{acker::settled, stowed},
    error::{Error, Malformed, Undecodable},
    serialize::Serializers,
    telemetry::observer::{Operation, UNDECODABLE},
};

/// A consumer of messages that are not decoded, on a channel of its own.
pub(crate) struct RawConsumer {
    channel: Channel,
    consumer: amqp_client::Consumer,
    queue: String,
    options: ConsumeOptions,
    renewal: Renewal,
    /// The messages that the consumer before this one had received and not handed out.
    left: VecDeque<amqp_client::Delivery>,
}

/// The way in which a consumer is replaced by another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Renewal {
    /// The new consumer starts before the old one is cancelled, because a queue may be deleted with
    /// its last consumer.
    Overlapping,
    /// The old consumer is cancelled first, because the broker would refuse the new one until then.
    WithGap,
    /// The consumer cannot be replaced: neither order works.
    Never,
}

impl RawConsumer {
    pub(crate) fn new(
        channel: Channel,
        consumer: amqp_client::Consumer,
        queue: String,
        options: ConsumeOptions,
        renewal: Renewal,
    ) -> Self {
        RawConsumer { channel, consumer, queue, options, renewal, left: VecDeque::new() }
    }

    /// Returns the next message. An error means that the consumer has ended.
    pub(crate) async fn recv(&mut self) -> Result<amqp_client::Delivery, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<amqp_client::Delivery, Error>> {
        if let Some(left) = self.left.pop_front() {
            return Poll::Ready(Ok(left));
        }
        self.consumer.poll_next_unpin(cx).map(|next| match next {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(error)) => Err(self.ended(Some(error))),
            None => Err(self.ended(None)),
        })
    }

    /// Returns the queue's name; the broker chose it if the queue was declared without one.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    /// Replaces this consumer by a new one on the same channel, where that is possible. Unsettled
    /// messages stay unsettled, and do not count towards the new consumer's prefetch. The new
    /// consumer of a stream begins with the message `next`.
    pub(crate) async fn renew(&mut self, next: Option<u64>) -> Result<(), Error> {
        if let Some(next) = next {
            return self.renew_at(next).await;
        }
        match self.renewal {
            Renewal::Overlapping => {
                let renewed = self.consume().await?;
                let mut before = std::mem::replace(&mut self.consumer, renewed);
                let cancelled = cancel(&mut before, &mut self.left).await;
                cancelled.map_err(|error| self.ended(Some(error)))
            }
            Renewal::WithGap => {
                cancel(&mut self.consumer, &mut self.left).await.map_err(|error| self.ended(Some(error)))?;
                self.consumer = self.consume().await?;
                Ok(())
            }
            Renewal::Never => Ok(()),
        }
    }

    /// Replaces the consumer of a stream by one that begins at the offset `next`. Messages that the
    /// old consumer still had are delivered again.
    async fn renew_at(&mut self, next: u64) -> Result<(), Error> {
        let mut again = VecDeque::new();
        cancel(&mut self.consumer, &mut again).await.map_err(|error| self.ended(Some(error)))?;
        for delivery in again {
            // Acknowledging does not remove a message from a stream.
            let _ = delivery.ack().await;
        }
        self.options = self.options.clone().stream_offset(StreamOffset::Offset(next));
        self.consumer = self.consume().await?;
        Ok(())
    }

    async fn consume(&mut self) -> Result<amqp_client::Consumer, Error> {
        let consumer = self.channel.consume(&self.queue, self.options.clone()).await;
        consumer.map_err(|error| self.ended(Some(error)))
    }

    /// Closes the channel. Unsettled messages go back to the queue.
    pub(crate) async fn close(self) -> Result<(), Error> {
        if self.channel.is_closed() {
            return Ok(());
        }
        self.channel
            .close()
            .await
            .map_err(Error::broker(format_args!("stop consuming from queue {:?}", self.queue)))
    }

    fn ended(&self, source: Option<amqp_client::Error>) -> Error {
        Error::ConsumerEnded { queue: self.queue.clone(), source }
    }
}

/// Cancels a consumer, and keeps the messages that it had already received.
async fn cancel(
    consumer: &mut amqp_client::Consumer,
    left: &mut VecDeque<amqp_client::Delivery>,
) -> amqp_client::Result<()> {
    consumer.cancel().await?;
    while let Some(delivery) = consumer.recv().await {
        left.push_back(delivery?);
    }
    Ok(())
}

pub(crate) fn decode<T: DeserializeOwned>(
    mut delivery: amqp_client::Delivery,
    serializers: &Serializers,
    operation: Operation,
) -> Result<Delivery<T>, Error> {
    let body = match delivery.withheld() {
        Some(size) => Err(Malformed::Withheld { size }),
        None => decode_body(delivery.content_properties(), delivery.body(), serializers),
    };
    match body {
        Ok(body) => {
            operation.end_as(None);
            Ok(Delivery { body, raw: delivery, operation })
        }
        Err(reason) => {
            operation.end_as(Some(UNDECODABLE));
            if let Some(properties) = stowed::restored(&delivery.encoded_properties()) {
                delivery.set_properties(&properties);
            }
            Err(Error::Undecodable(Box::new(Undecodable { delivery, reason })))
        }
    }
}

/// Decompresses and decodes the body as the message's properties say.
pub(crate) fn decode_body<T: DeserializeOwned>(
    properties: amqp_client::Result<ContentProperties<'_>>,
    body: &[u8],
    serializers: &Serializers,
) -> Result<T, Malformed> {
    let properties = properties.map_err(Malformed::Properties)?;
    let body = compress::decompress(compress::named(&properties)?, body, serializers.limit())?;
    decode_plain(&properties, &body, serializers)
}

/// Decodes a body that is no longer compressed as the message's properties say.
pub(crate) fn decode_plain<T: DeserializeOwned>(
    properties: &ContentProperties<'_>,
    body: &[u8],
    serializers: &Serializers,
) -> Result<T, Malformed> {
    let content_type = properties.content_type.map(text);
    let encoding = properties.content_encoding.map(text);
    serializers.decode(content_type.as_deref(), encoding.as_deref(), body)
}

/// Converts to text as `String::from_utf8_lossy` does, which goes octet by octet even if nothing is
/// lost.
fn text(octets: &[u8]) -> Cow<'_, str> {
    str::from_utf8(octets).map_or_else(|_| String::from_utf8_lossy(octets), Cow::Borrowed)
}

/// A typed message that is still to be settled.
///
/// # On drop
/// The message stays unsettled until the consumer ends, and is then delivered again.
#[derive(Debug)]
pub struct Delivery<T> {
    body: T,
    raw: amqp_client::Delivery,
    /// The receiving of it.
    operation: Operation,
}

impl<T> Delivery<T> {
    /// Returns the decoded body.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Returns the routing key that the message was published with.
    pub fn routing_key(&self) -> Cow<'_, str> {
        self.raw.routing_key()
    }

    /// Whether the message was delivered before, to any consumer.
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered()
    }

    /// Returns the message's properties.
    ///
    /// # Errors
    /// When the properties cannot be read.
    pub fn properties(&self) -> Result<Properties, Error> {
        let restored = stowed::restored(&self.raw.encoded_properties());
        let properties = match restored.and_then(|restored| restored.decode().ok()) {
            Some(properties) => Ok(properties),
            // Properties that cannot be decoded as they came cannot be decoded after restoring
            // either.
            None => self.raw.properties(),
        };
        properties.map_err(Error::broker("read the properties of a message"))
    }

    /// Acknowledges the message: the broker removes it from the queue.
    ///
    /// # Errors
    /// When the channel has ended: the message is delivered again.
    pub async fn ack(self) -> Result<(), Error> {
        let settling = self.operation.settle("ack");
        settled(&settling, self.raw.ack().await).map_err(Error::broker("acknowledge a message"))
    }

    /// Requeues the message, for this consumer or another one.
    ///
    /// # Errors
    /// When the channel has ended: the message is delivered again.
    pub async fn requeue(self) -> Result<(), Error> {
        let settling = self.operation.settle("reject");
        settled(&settling, self.raw.reject(true).await).map_err(Error::broker("requeue a message"))
    }

    /// Rejects the message: it is dead-lettered if the queue has a dead-letter exchange, and
    /// dropped otherwise.
    ///
    /// # Errors
    /// When the channel has ended: the message is delivered again.
    pub async fn reject(self) -> Result<(), Error> {
        let settling = self.operation.settle("reject");
        settled(&settling, self.raw.reject(false).await).map_err(Error::broker("reject a message"))
    }
}
