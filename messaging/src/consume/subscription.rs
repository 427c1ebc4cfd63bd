//! What to consume from, and with which settings.

use std::time::Duration;

use amqp_client::{Channel, ConsumeOptions, Exchange, Queue, StreamOffset};
use amqp_codec::{ReplyCode, Value};

use crate::{
    connection::{
        binding::{Binding, BindingKey},
        entity::{Entities, declare_queue},
        lazy_connection::LazyConnection,
        setup_error::SetupError,
    },
    consume::{
        bound_queue::BoundQueue,
        consumer::{RawConsumer, Renewal},
        settle::{broker_delay::BrokerDelay, on_failure::OnFailure, settling::Settling},
    },
    error::Error,
    publish::producer::Producer,
    telemetry::observer::{ObservedQueue, Observer},
};

/// The default time for which a queue is tried again that this consumer had and another connection
/// has now.
pub(crate) const WAIT_FOR_RELEASE: Duration = Duration::from_secs(5 * 60);

/// How often what a queue is bound to is declared again because it has gone meanwhile.
const REPEATS: usize = 5;

/// A queue to consume from: what to declare and bind before, and how much to prefetch.
#[derive(Clone)]
pub(crate) struct Subscription {
    link: LazyConnection,
    queue: Queue,
    exchanges: Vec<Exchange>,
    /// Pairs of exchange and key.
    bindings: Vec<(String, BindingKey)>,
    options: ConsumeOptions,
    wait_for_release: Duration,
    prefetch: u16,
    is_stream: bool,
    is_exclusive: bool,
    max_message_size: Option<u64>,
    /// The producer that moves messages of this queue to other queues.
    producer: Option<Producer>,
    observer: Observer,
}

impl Subscription {
    pub(crate) fn new(link: LazyConnection, queue: impl Into<BoundQueue>) -> Self {
        let BoundQueue { queue, bindings } = queue.into();
        let subscription = Subscription {
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
            producer: None,
            observer: Observer::default(),
        };
        let bind = |subscription: Subscription, (exchange, key)| subscription.bind(&exchange, key);
        bindings.into_iter().fold(subscription, bind)
    }

    /// Sets how to consume, except for the prefetch.
    #[cfg(feature = "oslo")]
    pub(crate) fn options(mut self, options: ConsumeOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets for how long a queue is tried again that this consumer had and another connection has
    /// now.
    pub(crate) fn with_wait_for_release(mut self, deadline: Duration) -> Self {
        self.wait_for_release = deadline;
        self
    }

    /// Sets the producer that moves messages that could not be handled to other queues.
    pub(crate) fn with_producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Sets what observes it.
    pub(crate) fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Returns what observes the messages of the queue.
    pub(crate) fn observed(&self) -> ObservedQueue {
        self.observer.queue(&self.queue)
    }

    /// Declares the exchange and binds the queue to it.
    pub(crate) fn bind(mut self, exchange: &Exchange, key: impl Into<BindingKey>) -> Self {
        self.bindings.push((exchange.name().to_owned(), key.into()));
        if !self.exchanges.contains(exchange) {
            self.exchanges.push(exchange.clone());
        }
        self
    }

    /// Allows no other consumer on the queue.
    pub(crate) fn exclusive(mut self, exclusive: bool) -> Self {
        self.options = self.options.exclusive(exclusive);
        self.is_exclusive = exclusive;
        self
    }

    /// Makes the queue a stream that is read from this offset.
    pub(crate) fn stream_offset(mut self, offset: StreamOffset) -> Self {
        self.options = self.options.stream_offset(offset);
        self.is_stream = true;
        self
    }

    /// Sets how many messages the broker sends before they are acknowledged.
    pub(crate) fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// Sets the largest body that is accepted, in bytes.
    pub(crate) fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// Declares and binds the queue, and begins to consume undecoded messages on a channel of its
    /// own.
    pub(crate) async fn start_raw(&self) -> Result<RawConsumer, Error> {
        self.start_with(self.options.clone()).await
    }

    /// Does the same from another offset of a stream.
    pub(crate) async fn start_raw_at(&self, offset: StreamOffset) -> Result<RawConsumer, Error> {
        self.start_with(self.options.clone().stream_offset(offset)).await
    }

    async fn start_with(&self, options: ConsumeOptions) -> Result<RawConsumer, Error> {
        let (channel, queue) = self.link.set_up(&[self.shared_entities()], || self.declare()).await?;
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
        Ok(RawConsumer::new(channel, consumer, queue, options, renewal))
    }

    /// Declares and binds the queue on a new channel; returns its name as well.
    async fn declare(&self) -> Result<(Channel, String), SetupError> {
        let exchanges = Entities { exchanges: self.exchanges.clone(), ..Entities::default() };
        let mut channel = self.link.open_channel().await?;
        exchanges.declare(&channel).await?;
        let queue = declare_queue(&channel, &self.queue).await?;
        let bindings = Entities { bindings: self.bindings_of(&queue), ..Entities::default() };
        for _ in 0..REPEATS {
            match bindings.declare(&channel).await {
                // An auto-delete exchange goes with its last queue, also before this one is bound.
                Err(error) if error.is_missing() && !self.exchanges.is_empty() => {}
                bound => return bound.map(|()| (channel, queue)),
            }
            channel = self.link.open_channel().await?;
            exchanges.declare(&channel).await?;
        }
        bindings.declare(&channel).await?;
        Ok((channel, queue))
    }

    fn bindings_of(&self, queue: &str) -> Vec<Binding> {
        let binding = |(exchange, key): &(String, BindingKey)| Binding {
            queue: queue.to_owned(),
            exchange: exchange.clone(),
            key: key.clone(),
        };
        self.bindings.iter().map(binding).collect()
    }

    /// Returns what it declares that is not for its connection alone.
    fn shared_entities(&self) -> Entities {
        let exchanges = self.exchanges.clone();
        let name = self.queue.name();
        if name.is_empty() || self.queue.is_exclusive() {
            return Entities { exchanges, ..Entities::default() };
        }
        Entities { exchanges, queues: vec![self.queue.clone()], bindings: self.bindings_of(name) }
    }

    /// Whether there is no such queue. RabbitMQ also says "not found" of a queue whose node is
    /// down, but with another text.
    pub(crate) async fn has_gone(&self) -> Result<bool, Error> {
        let channel = self.link.open_channel().await?;
        let Err(error) = channel.declare(self.queue.clone().passive(true)).await else { return Ok(false) };
        let missing = error.close().filter(|close| close.code == ReplyCode::NOT_FOUND);
        if missing.is_some_and(|close| !close.text.contains("home node")) {
            return Ok(true);
        }
        Err(Error::broker(format_args!("look for queue {:?}", self.queue.name()))(error))
    }

    /// Whether the queue is a stream, so that the offset of each message is to be noted.
    pub(crate) fn is_stream(&self) -> bool {
        let kind = self.queue.arguments().get("x-queue-type");
        self.is_stream || kind.as_ref().and_then(Value::as_str) == Some("stream")
    }

    pub(crate) fn wait_for_release(&self) -> Duration {
        self.wait_for_release
    }

    /// Returns what settles the messages of this queue.
    pub(crate) fn settling(&self, on_failure: OnFailure) -> Settling {
        let broker_delay = BrokerDelay::of(&self.queue, &on_failure, &self.link);
        Settling::new(&self.queue, on_failure, broker_delay, self.producer.clone(), self.observed())
    }

    pub(crate) fn link(&self) -> &LazyConnection {
        &self.link
    }

    /// Whether the transport was closed by its user.
    pub(crate) fn is_transport_closed(&self) -> bool {
        self.link.is_closed()
    }

    pub(crate) fn queue_name(&self) -> &str {
        self.queue.name()
    }
}

/// The setters that the builders of consumers and workers have in common.
macro_rules! subscription_setters {
    ($builder:ident) => {
        impl $builder {
            /// Declares the exchange and binds the queue to it, by a routing key or by arguments.
            #[must_use]
            pub fn bind(
                mut self,
                exchange: &amqp_client::Exchange,
                key: impl Into<crate::connection::binding::BindingKey>,
            ) -> Self {
                self.subscription = self.subscription.bind(exchange, key);
                self
            }

            /// Allows no other consumer on the queue. The broker enforces this for as long as it
            /// sees the connection. A consumer whose connection is lost gets the queue back when
            /// the broker has noticed the loss, see
            /// [`wait_for_release`](crate::TransportOptions::wait_for_release). Default: others may
            /// consume too.
            #[must_use]
            pub fn exclusive(mut self, exclusive: bool) -> Self {
                self.subscription = self.subscription.exclusive(exclusive);
                self
            }

            /// Makes the queue a stream that is read from this offset. Whatever ends the consumer,
            /// it continues after the last message that it handed out. Default: a queue declared as
            /// a [`stream`](amqp_client::Queue::stream) begins with the messages published from
            /// then on.
            #[must_use]
            pub fn stream_offset(mut self, offset: amqp_client::StreamOffset) -> Self {
                self.subscription = self.subscription.stream_offset(offset);
                self
            }

            /// Sets the serializers, which may include your own, and the content types that are
            /// accepted. Default: all of [`Serializers::new`](crate::Serializers::new).
            #[must_use]
            pub fn serializers(mut self, serializers: crate::serialize::Serializers) -> Self {
                self.serializers = serializers;
                self
            }
        }
    };
}
pub(super) use subscription_setters;
