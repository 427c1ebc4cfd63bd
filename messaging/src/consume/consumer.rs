//! Messages of one queue as they come, and as what they hold.

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
    consume::settle::stowed,
    error::{Error, Malformed, Undecodable},
    serialize::Serializers,
};

/// Messages as they come, on a channel of their own.
pub(crate) struct RawConsumer {
    channel: Channel,
    consumer: amqp_client::Consumer,
    queue: String,
    options: ConsumeOptions,
    renewal: Renewal,
    /// What a consumer had that has been replaced.
    left: VecDeque<amqp_client::Delivery>,
}

/// How another consumer takes the place of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Renewal {
    /// It is there before the other one goes, for with its last consumer a queue may be deleted.
    Overlapping,
    /// It would not be let in before.
    WithGap,
    /// Neither will do.
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

    /// The next message; an error is the end.
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

    /// The queue's name, the broker's own when an empty one was declared.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    /// Puts another consumer in the place of this one, on the same channel, where that can be: what
    /// is unsettled stays so, and does not count towards its prefetch. That of a stream begins with
    /// the message `next`.
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

    /// The same, from this place in a stream, from which what is left with the one before comes
    /// again.
    async fn renew_at(&mut self, next: u64) -> Result<(), Error> {
        let mut again = VecDeque::new();
        cancel(&mut self.consumer, &mut again).await.map_err(|error| self.ended(Some(error)))?;
        for delivery in again {
            // Nothing of a stream goes away with that.
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

    /// Ends the channel: what is not settled goes back to the queue.
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

/// Cancels a consumer, and keeps what it was sent.
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
) -> Result<Delivery<T>, Error> {
    let body = match delivery.withheld() {
        Some(size) => Err(Malformed::Withheld { size }),
        None => decode_body(delivery.content_properties(), delivery.body(), serializers),
    };
    match body {
        Ok(body) => Ok(Delivery { body, raw: delivery }),
        Err(reason) => {
            if let Some(properties) = stowed::restored(&delivery.encoded_properties()) {
                delivery.set_properties(&properties);
            }
            Err(Error::Undecodable(Box::new(Undecodable { delivery, reason })))
        }
    }
}

/// The body, decompressed and decoded as the message says.
pub(crate) fn decode_body<T: DeserializeOwned>(
    properties: amqp_client::Result<ContentProperties<'_>>,
    body: &[u8],
    serializers: &Serializers,
) -> Result<T, Malformed> {
    let properties = properties.map_err(Malformed::Properties)?;
    let body = compress::decompress(properties.header_text(compress::HEADER), body, serializers.limit())?;
    decode_plain(&properties, &body, serializers)
}

/// The body, which is no longer compressed, decoded as the message says.
pub(crate) fn decode_plain<T: DeserializeOwned>(
    properties: &ContentProperties<'_>,
    body: &[u8],
    serializers: &Serializers,
) -> Result<T, Malformed> {
    let content_type = properties.content_type.map(text);
    let encoding = properties.content_encoding.map(text);
    serializers.decode(content_type.as_deref(), encoding.as_deref(), body)
}

/// As `String::from_utf8_lossy`, which goes octet by octet also where nothing is lost.
fn text(octets: &[u8]) -> Cow<'_, str> {
    str::from_utf8(octets).map_or_else(|_| String::from_utf8_lossy(octets), Cow::Borrowed)
}

/// A typed message, to be settled.
///
/// # On drop
/// It stays unsettled until the consumer ends, and is then delivered again.
#[derive(Debug)]
pub struct Delivery<T> {
    body: T,
    raw: amqp_client::Delivery,
}

impl<T> Delivery<T> {
    /// The message.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> Cow<'_, str> {
        self.raw.routing_key()
    }

    /// Whether it was delivered before, to whomever.
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered()
    }

    /// What the message says of itself.
    ///
    /// # Errors
    /// When the properties cannot be read.
    pub fn properties(&self) -> Result<Properties, Error> {
        let restored = stowed::restored(&self.raw.encoded_properties());
        let properties = match restored.and_then(|restored| restored.decode().ok()) {
            Some(properties) => Ok(properties),
            // What cannot be read as it came cannot be read restored either.
            None => self.raw.properties(),
        };
        properties.map_err(Error::broker("read the properties of a message"))
    }

    /// Takes the message off the queue: it is done.
    ///
    /// # Errors
    /// When the channel has ended: the message is delivered again.
    pub async fn ack(self) -> Result<(), Error> {
        self.raw.ack().await.map_err(Error::broker("acknowledge a message"))
    }

    /// Puts the message back to the queue, for this consumer or another one.
    ///
    /// # Errors
    /// When the channel has ended: the message is delivered again.
    pub async fn requeue(self) -> Result<(), Error> {
        self.raw.reject(true).await.map_err(Error::broker("requeue a message"))
    }

    /// Refuses the message: it is dead-lettered where the queue says so, and dropped otherwise.
    ///
    /// # Errors
    /// When the channel has ended: the message is delivered again.
    pub async fn reject(self) -> Result<(), Error> {
        self.raw.reject(false).await.map_err(Error::broker("reject a message"))
    }
}
