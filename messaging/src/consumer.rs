//! Consuming typed messages from one queue.

use std::{
    borrow::Cow,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use amqp_client::{Channel, ConsumeOptions, Exchange, Queue, Received, StreamOffset};
use amqp_codec::{Properties, borrowed::ContentProperties};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::{
    compress,
    entity::{Binding, Entities, declare_queue},
    error::{Error, Malformed, Undecodable},
    link::Link,
    on_failure::OnFailure,
    on_undecodable::OnUndecodable,
    producer::Producer,
    serialize::Serializers,
};

/// A queue to consume from: what to declare and bind before, and how much to take in advance.
#[derive(Clone)]
pub struct Subscription {
    link: Link,
    queue: Queue,
    exchanges: Vec<Exchange>,
    /// Exchange and routing key.
    bindings: Vec<(String, String)>,
    options: ConsumeOptions,
    prefetch: u16,
    concurrency: u16,
    on_failure: OnFailure,
    pub(crate) on_undecodable: Option<OnUndecodable>,
    serializers: Serializers,
    /// To publish to the queue itself, for who handles its messages.
    pub(crate) producer: Option<Producer>,
}

impl Subscription {
    pub(crate) fn new(link: Link, queue: Queue) -> Self {
        Subscription {
            link,
            queue,
            exchanges: Vec::new(),
            bindings: Vec::new(),
            options: ConsumeOptions::new(),
            prefetch: 64,
            concurrency: 1,
            on_failure: OnFailure::default(),
            on_undecodable: None,
            serializers: Serializers::new(),
            producer: None,
        }
    }

    /// How to consume, the prefetch apart.
    pub(crate) fn options(mut self, options: ConsumeOptions) -> Self {
        self.options = options;
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

    /// How many messages the broker sends ahead of their acknowledgement; default 64, 0 is without limit.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
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
    /// fails or panics, and by default, it is set aside as a failed one that has been tried often enough.
    #[must_use]
    pub fn on_undecodable<H, Fut, E>(mut self, handler: H) -> Self
    where
        H: Fn(Received, Malformed) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.on_undecodable = Some(OnUndecodable::new(handler));
        self
    }

    /// Declares, binds, and begins to consume messages of type `T`, on a channel of its own.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    ///
    /// # Cancel safety
    /// What was declared stays declared.
    pub async fn start<T: DeserializeOwned>(&self) -> Result<Consumer<T>, Error> {
        let serializers = self.serializers.clone();
        Ok(Consumer { raw: self.start_raw().await?, serializers, types: PhantomData })
    }

    /// The same, for messages as they come.
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
        let options = options.prefetch(self.prefetch);
        let consumer = channel.consume(&queue, options).await;
        let consumer = consumer.map_err(Error::broker(format_args!("consume from queue {queue:?}")))?;
        Ok(RawConsumer { channel, consumer, queue })
    }

    pub(crate) fn handlers(&self) -> u16 {
        self.concurrency
    }

    pub(crate) fn content(&self) -> &Serializers {
        &self.serializers
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
}

impl RawConsumer {
    /// The next message; an error is the end.
    pub(crate) async fn next(&mut self) -> Result<amqp_client::Delivery, Error> {
        match self.consumer.recv().await {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(error)) => Err(self.ended(Some(error))),
            None => Err(self.ended(None)),
        }
    }

    /// Ends the channel: what is not settled goes back to the queue.
    pub(crate) async fn close(self) -> Result<(), Error> {
        if !self.channel.is_open() {
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

/// Typed messages from one queue: a [`Stream`], also read with [`next`](Self::next).
///
/// It goes on when the connection is lost and comes back: what was not settled is delivered again. It ends with an error when the
/// queue is deleted, or the broker does not let this client in any more.
///
/// # On drop
/// Messages that are not settled go back to the queue.
pub struct Consumer<T> {
    raw: RawConsumer,
    serializers: Serializers,
    types: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Consumer<T> {
    /// The next message; `None` after the end.
    ///
    /// # Errors
    /// [`Error::Undecodable`] holds a message that is not a `T`: it is still to be settled, and the consumer goes on.
    /// [`Error::ConsumerEnded`] is the end.
    ///
    /// # Cancel safety
    /// No message is lost.
    pub async fn next(&mut self) -> Option<Result<Delivery<T>, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The queue's name, the broker's own when an empty one was declared.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.raw.queue
    }

    /// Stops consuming: messages that are not settled go back to the queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn close(self) -> Result<(), Error> {
        self.raw.close().await
    }
}

impl<T: DeserializeOwned> Stream for Consumer<T> {
    type Item = Result<Delivery<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.raw.consumer).poll_next(context);
        polled.map(|next| {
            Some(match next? {
                Ok(delivery) => decode(delivery, &self.serializers),
                Err(error) => Err(self.raw.ended(Some(error))),
            })
        })
    }
}

fn decode<T: DeserializeOwned>(
    delivery: amqp_client::Delivery,
    serializers: &Serializers,
) -> Result<Delivery<T>, Error> {
    match decode_body(delivery.content_properties(), delivery.body(), serializers) {
        Ok(body) => Ok(Delivery { body, raw: delivery }),
        Err(reason) => Err(Error::Undecodable(Box::new(Undecodable { delivery, reason }))),
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
    let content_type = properties.content_type.map(text);
    let encoding = properties.content_encoding.map(text);
    serializers.decode(content_type.as_deref(), encoding.as_deref(), &body)
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
        self.raw.properties().map_err(Error::broker("read the properties of a message"))
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
