//! The driver that emits notifications to a broker.

use std::fmt;

use crate::{
    compress::Compression,
    connection::{binding::Binding, entity::Entities},
    error::Error,
    oslo::{
        notify::{
            driver::{Driver, Emitting},
            level::Level,
            notification::Notification,
            wire::Wire,
        },
        settings::topology::Topology,
        wire::envelope,
    },
    publish::{
        json_message::json_message, options::compressed, producer::Producer, publish_channel::Required,
    },
    retry::RetryPolicy,
    serialize,
    transport::Transport,
};

/// Emits notifications to topics of a broker: oslo.messaging's `messagingv2`, or `messaging` when
/// it is not [`enveloped`](Self::enveloped).
/// [`Transport::notification_driver`](crate::Transport::notification_driver) makes it.
///
/// The queue of a topic and level is declared and bound before the first notification to it, and
/// again when it turns out to be gone. So notifications that are emitted before any listener exists
/// are kept. Emitting returns when the broker has confirmed the notification for every topic.
#[derive(Clone)]
pub struct Messaging {
    transport: Transport,
    producer: Producer,
    topology: Topology,
    topics: Vec<String>,
    exchange: String,
    enveloped: bool,
    compression: Option<Compression>,
}

impl Messaging {
    pub(crate) fn new(transport: &Transport, topic: impl Into<String>) -> Self {
        let topology = transport.topology().clone();
        let exchange = topology.control_exchange_name().to_owned();
        Messaging {
            transport: transport.clone(),
            producer: producer(transport, &topology, &exchange),
            topology,
            topics: vec![topic.into()],
            exchange,
            enveloped: true,
            compression: transport.traffic().compression,
        }
    }

    /// Adds a topic: each notification goes to every topic, in their order.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// Sets the exchange to emit to; default
    /// [`Topology::control_exchange`](crate::Topology::control_exchange).
    #[must_use]
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = exchange.into();
        self.producer = producer(&self.transport, &self.topology, &self.exchange);
        self
    }

    /// Sets whether the message is in the envelope of version 2, as with Python's driver
    /// `messagingv2`, or without, as with its driver `messaging`. Default true.
    ///
    /// Tagged values ([`tagged`](crate::tagged)) are sent unchanged. Python's listeners decode them
    /// only without an envelope. In an envelope they take them for objects, because it contains
    /// only plain JSON.
    #[must_use]
    pub fn enveloped(mut self, enveloped: bool) -> Self {
        self.enveloped = enveloped;
        self
    }

    /// Compresses notifications, which all listeners can read, Python's included. Default: as the
    /// [transport](crate::TransportOptions::oslo_compression) says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    async fn emit(&self, notification: &Notification, retry: RetryPolicy) -> Result<(), Error> {
        let producer = self.producer.clone().retry(retry);
        for topic in &self.topics {
            let wire = Wire(notification);
            let body = if self.enveloped { envelope::encode(&wire) } else { serialize::to_json(&wire) };
            let body = body.map_err(|source| Error::Encode { what: "a notification", source })?;
            let message = compressed(json_message(body, None), self.compression)?;
            let queue = Level::queue_of(notification.level, topic);
            let entities = || self.entities(&queue);
            let required = Required { name: &queue, entities: &entities };
            producer.publish_raw(&queue, &message, Some(&required)).await?;
        }
        Ok(())
    }

    fn entities(&self, queue: &str) -> Entities {
        let binding = Binding { queue: queue.to_owned(), exchange: self.exchange.clone(), key: queue.into() };
        Entities {
            exchanges: Vec::new(),
            queues: vec![self.topology.shared_queue(queue)],
            bindings: vec![binding],
        }
    }
}

/// Returns a producer that accepts unroutable messages: the queue of each topic is declared before,
/// and other queues need not exist.
fn producer(transport: &Transport, topology: &Topology, exchange: &str) -> Producer {
    transport.producer(topology.exchange(exchange)).mandatory(false)
}

impl Driver for Messaging {
    fn name(&self) -> &str {
        if self.enveloped { "messagingv2" } else { "messaging" }
    }

    fn notify<'a>(&'a self, notification: &'a Notification, retry: RetryPolicy) -> Emitting<'a> {
        Box::pin(self.emit(notification, retry))
    }
}

impl fmt::Debug for Messaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messaging")
            .field("exchange", &self.exchange)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}
