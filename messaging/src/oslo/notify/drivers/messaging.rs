//! Notifications to a broker.

use std::fmt;

use crate::{
    compress::Compression,
    connection::entity::{Binding, Entities},
    error::Error,
    oslo::{
        notify::{
            driver::{Driver, Emitting},
            level::Level,
            notification::Notification,
            wire::Wire,
        },
        wire::{envelope, topology::Topology},
    },
    publish::{
        json_message::json_message, options::compressed, producer::Producer, publish_channel::Required,
    },
    retry::RetryPolicy,
    serialize,
    transport::Transport,
};

/// To topics of a broker: oslo.messaging's `messagingv2`, or `messaging` when it is not
/// [`enveloped`](Self::enveloped). Made by
/// [`Transport::notification_driver`](crate::Transport::notification_driver).
///
/// The queue of a topic and level is declared and bound before the first notification to it, and
/// again when it turns out to be gone, so that one that is emitted before any listener is there is
/// kept. Done when the broker has confirmed it for every topic.
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

    /// One topic more: each notification goes to every topic, in their order.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// The exchange to emit to; default
    /// [`Topology::control_exchange`](crate::Topology::control_exchange).
    #[must_use]
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = exchange.into();
        self.producer = producer(&self.transport, &self.topology, &self.exchange);
        self
    }

    /// Whether the message is in the envelope of version 2, Python's driver `messagingv2`; without,
    /// it is as the driver `messaging` sends it. Default true.
    ///
    /// Tagged values ([`tagged`](crate::tagged)) leave as they are. Python's listeners read them
    /// where there is no envelope, and take them for objects where there is one: it has nothing but
    /// plain JSON in it.
    #[must_use]
    pub fn enveloped(mut self, enveloped: bool) -> Self {
        self.enveloped = enveloped;
        self
    }

    /// Compresses notifications, which listeners of every kind read. Default: as the
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
        let binding = Binding {
            queue: queue.to_owned(),
            exchange: self.exchange.clone(),
            routing_key: queue.to_owned(),
        };
        Entities {
            exchanges: Vec::new(),
            queues: vec![self.topology.shared_queue(queue)],
            bindings: vec![binding],
        }
    }
}

/// The queue of each topic is declared before; other queues need not be there.
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
