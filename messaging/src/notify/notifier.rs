//! Emitting notifications.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{level::Level, wire::Notification};
use crate::{
    context::Context,
    entity::{Binding, Entities},
    envelope,
    error::Error,
    json_message::json_message,
    lane::Required,
    producer::Producer,
    retry::RetryPolicy,
    serialize,
    target::CONTROL_EXCHANGE,
    topology::Topology,
    transport::Transport,
};

/// Emits notifications under one publisher's name. Cloning is cheap.
///
/// The queue of a topic and level is declared and bound before the first notification to it, so that one that is emitted
/// before any listener is there is kept.
///
/// ```
/// use messaging::{Context, Transport, notify};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://notify-example").await?;
/// let notifier = notify::Notifier::new(&transport, "compute.host1", "notifications");
/// notifier.info(&Context::new(), "instance.create.end", &serde_json::json!({"id": 12})).await?;
///
/// let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
/// let listener = notify::Listener::new(&transport, "notifications")
///     .on(notify::Level::Info, move |event: notify::Event| {
///         let _ = sender.send(event.event_type().to_owned());
///         async { notify::NotificationResult::Handled }
///     })
///     .start()
///     .await?;
/// assert_eq!(events.recv().await.as_deref(), Some("instance.create.end"));
/// listener.stop().await;
/// transport.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Notifier {
    producer: Producer,
    topology: Topology,
    publisher_id: Arc<str>,
    topics: Vec<String>,
    exchange: String,
    enveloped: bool,
    transport: Transport,
}

impl Notifier {
    /// For a publisher, by custom `service.host`, to one topic, by custom `notifications`.
    #[must_use]
    pub fn new(transport: &Transport, publisher_id: &str, topic: impl Into<String>) -> Self {
        let topology = transport.topology().clone();
        Notifier {
            producer: transport.producer(topology.exchange(CONTROL_EXCHANGE)),
            topology,
            publisher_id: publisher_id.into(),
            topics: vec![topic.into()],
            exchange: CONTROL_EXCHANGE.to_owned(),
            enveloped: true,
            transport: transport.clone(),
        }
    }

    /// One topic more: each notification goes to every topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// The exchange to emit to; default `openstack`.
    #[must_use]
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = exchange.into();
        self.producer = self.transport.producer(self.topology.exchange(&self.exchange));
        self
    }

    /// Whether the message is in the envelope of version 2, Python's driver `messagingv2`; without, it is as the driver
    /// `messaging` sends it. Default true.
    #[must_use]
    pub fn enveloped(mut self, enveloped: bool) -> Self {
        self.enveloped = enveloped;
        self
    }

    /// When to try again, and the deadline; default as [`RetryPolicy`]'s. Set it after the [`exchange`](Self::exchange).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.producer = self.producer.retry(policy);
        self
    }

    /// Emits a notification at a level. Done when the broker has it.
    ///
    /// # Errors
    /// [`Error::Encode`] when the payload has no JSON form; as [`Producer::ensure_publish`] for the first topic that fails.
    ///
    /// # Cancel safety
    /// When the future is dropped the notification may or may not be emitted.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        level: Level,
        context: &Context,
        event_type: &str,
        payload: &P,
    ) -> Result<(), Error> {
        let notification =
            Notification { publisher_id: &self.publisher_id, event_type, level, payload, context };
        let body =
            if self.enveloped { envelope::encode(&notification) } else { serialize::to_json(&notification) };
        let body = body.map_err(|source| Error::Encode { what: "a notification", source })?;
        let message = json_message(body, None);
        for topic in &self.topics {
            let queue = queue_name(topic, level);
            let entities = || self.entities(&queue);
            let required = Required { name: &queue, entities: &entities };
            self.producer.deliver(&queue, &message, Some(&required)).await?;
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

macro_rules! levels {
    ($($method:ident = $level:ident;)*) => {
        impl Notifier {$(
            /// Emits a notification at this level.
            ///
            /// # Errors
            /// As [`notify`](Self::notify).
            ///
            /// # Cancel safety
            /// As [`notify`](Self::notify).
            pub async fn $method<P: Serialize + ?Sized>(
                &self,
                context: &Context,
                event_type: &str,
                payload: &P,
            ) -> Result<(), Error> {
                self.notify(Level::$level, context, event_type, payload).await
            }
        )*}
    };
}

levels! {
    audit = Audit;
    debug = Debug;
    info = Info;
    warn = Warn;
    error = Error;
    critical = Critical;
    sample = Sample;
}

/// The queue of a topic and level, which is the routing key too.
pub(crate) fn queue_name(topic: &str, level: Level) -> String {
    format!("{topic}.{level}")
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("publisher_id", &self.publisher_id)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}
