//! Consuming from one queue: what to consume and how, and messages as they come.

use std::{
    borrow::Cow,
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use amqp_client::{Channel, ConsumeOptions, Exchange, Queue, Received, StreamOffset};
use amqp_codec::{Properties, ReplyCode, Value, borrowed::ContentProperties};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::{
    compress,
    connection::{
        entity::{Binding, Entities, declare_queue},
        link::Link,
    },
    consume::settle::{on_failure::OnFailure, on_undecodable::OnUndecodable, settling::Settling, stowed},
    error::{Error, Malformed, Undecodable},
    publish::producer::Producer,
    serialize::{BoxError, Serializers},
};

/// For how long a queue that was had and is somebody else's now is tried again, unless it is said otherwise.
pub(crate) const WAIT_FOR_RELEASE: Duration = Duration::from_secs(5 * 60);

/// A queue to consume from: what to declare and bind before, and how much to take in advance.
#[derive(Clone)]
pub struct Subscription {
    link: Link,
    queue: Queue,
    exchanges: Vec<Exchange>,
    /// Exchange and routing key.
    bindings: Vec<(String, String)>,
    options: ConsumeOptions,
    wait_for_release: Duration,
    prefetch: u16,
    is_stream: bool,
    is_exclusive: bool,
    max_message_size: Option<u64>,
    concurrency: u16,
    on_failure: OnFailure,
    pub(crate) on_undecodable: Option<OnUndecodable>,
    serializers: Serializers,
    /// To publish to queues, for who handles the messages of this one.
    producer: Option<Producer>,
}

impl Subscription {
    pub(crate) fn new(link: Link, queue: Queue) -> Self {
        Subscription {
            link,
            queue,
            exchanges: Vec::new(),
            bindings: Vec::new(),
            options: ConsumeOptions::new(),
            wait_for_release: WAIT_FOR_RELEASE,
            prefetch: 64,
            is_stream: false,
            is_exclusive: false,
            max_message_size: None,
            concurrency: 1,
            on_failure: OnFailure::default(),
            on_undecodable: None,
            serializers: Serializers::new(),
            producer: None,
        }
    }

    /// How to consume, the prefetch apart.
    #[cfg(feature = "oslo")]
    pub(crate) fn options(mut self, options: ConsumeOptions) -> Self {
        self.options = options;
        self
    }

    /// For how long a queue that is somebody else's is tried again, once it was had.
    pub(crate) fn with_wait_for_release(mut self, deadline: Duration) -> Self {
        self.wait_for_release = deadline;
        self
    }

    /// With the means to publish again what could not be handled.
    pub(crate) fn with_producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Declares the exchange and binds the queue to it.
    #[must_use]
    pub fn bind(mut self, exchange: &Exchange, routing_key: impl Into<String>) -> Self {
        self.bindings.push((exchange.name().to_owned(), routing_key.into()));
        if !self.exchanges.contains(exchange) {
            self.exchanges.push(exchange.clone());
        }
        self
    }

    /// No other consumer on the queue. It is kept for this one as far as the broker sees: one whose connection is lost has it back when the
    /// broker has noticed, see [`wait_for_release`](crate::TransportOptions::wait_for_release). Default: others may consume too.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.options = self.options.exclusive(exclusive);
        self.is_exclusive = exclusive;
        self
    }

    /// The queue is a stream, and this is where to begin. Whatever ends the consumer, it goes on behind the last message that it handed
    /// out. Default: a queue declared as a [`stream`](Queue::stream) begins with what comes from then on.
    #[must_use]
    pub fn stream_offset(mut self, offset: StreamOffset) -> Self {
        self.options = self.options.stream_offset(offset);
        self.is_stream = true;
        self
    }

    /// How many messages the broker sends ahead of their acknowledgement; default 64, 0 is without limit. Those that wait for their turn are
    /// bounded by 128 MiB over all consumers of a transport, or 16 MiB without limit: beyond that it reads no more, which holds up the
    /// replies of RPC as well.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// The largest body that is taken, in bytes. A message with a larger one comes without it: [`start`](Self::start) gives
    /// [`Error::Undecodable`] with [`Malformed::Withheld`], to be settled; [`handle`](Self::handle) has
    /// [`on_undecodable`](Self::on_undecodable) called, whose success acknowledges it. Otherwise it is rejected where the queue is declared with
    /// a dead letter exchange, which gets it whole, and kept unacknowledged where not, as what cannot be
    /// [set aside](crate::RetryLater): without its body it cannot be published elsewhere. Default:
    /// [that of the transport](crate::TransportOptions::max_message_size).
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// What is read, and how: serializers of one's own, and which content types are accepted. Default: all of
    /// [`Serializers::new`].
    #[must_use]
    pub fn serializers(mut self, serializers: Serializers) -> Self {
        self.serializers = serializers;
        self
    }

    /// For [`handle`](Self::handle): how many messages are handled at once, at least 1, which is the prefetch then. Default 1.
    #[must_use]
    pub fn concurrency(mut self, handlers: u16) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// For [`handle`](Self::handle): what becomes of a message whose handler failed. Default: it is rejected.
    #[must_use]
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// For [`handle`](Self::handle): what is done with a message that cannot be decoded. When `handler` succeeds it is acknowledged; when that
    /// fails or panics, and by default, it is set aside as a failed one that has been tried often enough. It runs in the message's span and
    /// trace, as handlers do.
    #[must_use]
    pub fn on_undecodable<H, Fut, E>(mut self, handler: H) -> Self
    where
        H: Fn(Received, Malformed) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.on_undecodable = Some(OnUndecodable::new(handler));
        self
    }

    /// Declares, binds, and begins to consume messages as they come, on a channel of its own.
    pub(crate) async fn start_raw(&self) -> Result<RawConsumer, Error> {
        self.start_with(self.options.clone()).await
    }

    /// The same, from another place in a stream.
    pub(crate) async fn start_raw_at(&self, offset: StreamOffset) -> Result<RawConsumer, Error> {
        self.start_with(self.options.clone().stream_offset(offset)).await
    }

    async fn start_with(&self, options: ConsumeOptions) -> Result<RawConsumer, Error> {
        let channel = self.link.open_channel().await?;
        Entities { exchanges: self.exchanges.clone(), ..Entities::default() }.declare(&channel).await?;
        let queue = declare_queue(&channel, &self.queue).await?;
        let binding = |(exchange, routing_key): &(String, String)| Binding {
            queue: queue.clone(),
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
        };
        let bindings = self.bindings.iter().map(binding).collect();
        Entities { bindings, ..Entities::default() }.declare(&channel).await?;
        let limit = self.max_message_size.unwrap_or_else(|| self.link.max_message_size());
        let options = options.prefetch(self.prefetch).resume_stream(self.is_stream());
        let options = options.withhold_bodies_over(limit);
        let consumer = channel.consume(&queue, options.clone()).await;
        let consumer = consumer.map_err(Error::consuming(&queue))?;
        let renewal = match (self.is_exclusive, self.queue.is_auto_delete()) {
            (false, _) => Renewal::Overlapping,
            (true, false) => Renewal::WithGap,
            (true, true) => Renewal::Never,
        };
        Ok(RawConsumer { channel, consumer, queue, options, renewal, left: VecDeque::new() })
    }

    /// Tells whether there is no such queue. RabbitMQ says the same of one whose node is down, in other words.
    pub(crate) async fn has_gone(&self) -> Result<bool, Error> {
        let channel = self.link.open_channel().await?;
        let Err(error) = channel.declare(self.queue.clone().passive(true)).await else { return Ok(false) };
        let missing = error.close().filter(|close| close.code == ReplyCode::NOT_FOUND);
        if missing.is_some_and(|close| !close.text.contains("home node")) {
            return Ok(true);
        }
        Err(Error::broker(format_args!("look for queue {:?}", self.queue.name()))(error))
    }

    /// Tells whether the place of each message is to be noted.
    pub(crate) fn is_stream(&self) -> bool {
        let kind = self.queue.arguments().get("x-queue-type");
        self.is_stream || kind.as_ref().and_then(Value::as_str) == Some("stream")
    }

    pub(crate) fn wait_for_release(&self) -> Duration {
        self.wait_for_release
    }

    pub(crate) fn handlers(&self) -> u16 {
        self.concurrency
    }

    pub(crate) fn content(&self) -> &Serializers {
        &self.serializers
    }

    /// What becomes of its messages.
    pub(crate) fn settling(&self, on_failure: OnFailure) -> Settling {
        Settling::new(&self.queue, on_failure, self.producer.clone())
    }

    pub(crate) fn failure_policy(&self) -> &OnFailure {
        &self.on_failure
    }

    pub(crate) fn queue_name(&self) -> &str {
        self.queue.name()
    }
}

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
enum Renewal {
    /// It is there before the other one goes, for with its last consumer a queue may be deleted.
    Overlapping,
    /// It would not be let in before.
    WithGap,
    /// Neither will do.
    Never,
}

impl RawConsumer {
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

    /// Puts another consumer in the place of this one, on the same channel, where that can be: what is unsettled stays so, and does not
    /// count towards its prefetch. That of a stream begins with the message `next`.
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

    /// The same, from this place in a stream, from which what is left with the one before comes again.
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
        let properties = match stowed::restored(&self.raw.encoded_properties()) {
            Some(restored) => {
                restored.decode().map_err(|source| amqp_client::Error::Protocol { channel: 0, source })
            }
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
