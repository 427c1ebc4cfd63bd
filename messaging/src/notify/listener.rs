//! Listening for notifications.

use std::{collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc};

use amqp_client::Delivery;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::{level::Level, notifier::queue_name, wire::Received};
use crate::{
    consumer::Subscription,
    context::Context,
    duplicates::Duplicates,
    envelope,
    error::{Error, Malformed},
    serialize,
    service::Service,
    target::CONTROL_EXCHANGE,
    transport::Transport,
    turns::Turn,
};

/// What to do with a notification that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationResult {
    /// It is done.
    Handled,
    /// It goes back to its queue, for this listener or another one.
    Requeue,
}

type Handler = Arc<dyn Fn(Event) -> BoxFuture<'static, NotificationResult> + Send + Sync>;

/// A listener about to start. See [`Notifier`](super::Notifier) for an example.
pub struct Listener {
    transport: Transport,
    topics: Vec<String>,
    exchange: String,
    pool: Option<String>,
    concurrency: u16,
    handlers: BTreeMap<Level, Handler>,
}

impl Listener {
    /// For the notifications of a topic.
    #[must_use]
    pub fn new(transport: &Transport, topic: impl Into<String>) -> Self {
        Listener {
            transport: transport.clone(),
            topics: vec![topic.into()],
            exchange: CONTROL_EXCHANGE.to_owned(),
            pool: None,
            concurrency: 64,
            handlers: BTreeMap::new(),
        }
    }

    /// One topic more.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// The exchange to listen at; default `openstack`.
    #[must_use]
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = exchange.into();
        self
    }

    /// A queue of this name instead of the topics' own: each pool gets every notification once, and its listeners share
    /// them. Default none.
    #[must_use]
    pub fn pool(mut self, name: impl Into<String>) -> Self {
        self.pool = Some(name.into());
        self
    }

    /// How many notifications are handled at once, at least 1; further ones wait at the broker. Default 64.
    #[must_use]
    pub fn concurrency(mut self, notifications: u16) -> Self {
        self.concurrency = notifications.max(1);
        self
    }

    /// Handles the notifications of a level; only levels that are handled are listened for.
    ///
    /// A handler that panics puts the notification back once; the second time it is rejected.
    #[must_use]
    pub fn on<F, Fut>(mut self, level: Level, handler: F) -> Self
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = NotificationResult> + Send + 'static,
    {
        self.handlers.insert(level, Arc::new(move |event| handler(event).boxed()));
        self
    }

    /// Declares and binds the queues, and begins to listen. After a lost connection it begins again by itself.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub async fn start(self) -> Result<RunningListener, Error> {
        let subscriptions = self.subscriptions();
        let shared = Arc::new(Shared { handlers: self.handlers, handled: Mutex::default() });
        let listen = move |delivery, turn| shared.clone().listen(delivery, turn);
        let sources = subscriptions.into_iter().map(Into::into).collect();
        let service = Service::start(sources, self.concurrency.into(), listen).await?;
        Ok(RunningListener { service })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let topology = self.transport.topology();
        let exchange = topology.exchange(&self.exchange);
        let keys =
            self.topics.iter().flat_map(|topic| self.handlers.keys().map(|level| queue_name(topic, *level)));
        let subscription =
            |queue: &str| self.transport.consumer(topology.shared_queue(queue)).prefetch(self.concurrency);
        match &self.pool {
            Some(pool) => vec![keys.fold(subscription(pool), |pool, key| pool.bind(&exchange, key))],
            None => keys.map(|key| subscription(&key).bind(&exchange, key)).collect(),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("topics", &self.topics)
            .field("levels", &self.handlers.keys())
            .finish_non_exhaustive()
    }
}

/// A listener that listens.
///
/// # On drop
/// It stops at once; notifications that are being handled go back to their queues.
#[must_use = "a listener stops when this is dropped"]
pub struct RunningListener {
    service: Service,
}

impl RunningListener {
    /// Stops listening, and waits for the notifications that are being handled. The queues stay, and go on being filled.
    pub async fn stop(self) {
        self.service.stop().await;
    }
}

/// A notification.
#[derive(Debug)]
pub struct Event {
    level: Level,
    received: Received,
}

impl Event {
    /// Its level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What happened, by custom `subject.action.phase`; empty when its sender did not say.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.received.event_type
    }

    /// Who says so, by custom `service.host`; empty when its sender did not say.
    #[must_use]
    pub fn publisher_id(&self) -> &str {
        &self.received.publisher_id
    }

    /// What is to be known of it.
    ///
    /// # Errors
    /// [`Error::Decode`] when the payload is no `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let payload = serialize::from_json(self.received.payload.get());
        payload.map_err(|source| Error::Decode { what: "the payload of a notification", source })
    }

    /// What travelled with it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.received.context
    }

    /// Its own id.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.received.message_id.as_deref()
    }

    /// When it was emitted, as its sender wrote it: `2026-11-20 12:31:19.573817`, in UTC.
    #[must_use]
    pub fn timestamp(&self) -> Option<&str> {
        self.received.timestamp.as_deref()
    }
}

struct Shared {
    handlers: BTreeMap<Level, Handler>,
    /// Ids of notifications that were handled.
    handled: Mutex<Duplicates>,
}

impl Shared {
    /// One notification, from its arrival to its acknowledgement.
    async fn listen(self: Arc<Self>, delivery: Delivery, _turn: Turn) {
        let settled = match read(&delivery) {
            Ok(received) => self.handle(delivery, received).await,
            Err(reason) => {
                tracing::error!(%reason, "an unreadable notification is rejected");
                delivery.reject(false).await
            }
        };
        if let Err(error) = settled {
            tracing::debug!(%error, "a notification was not settled; it will be delivered again");
        }
    }

    async fn handle(&self, delivery: Delivery, received: Received) -> amqp_client::Result<()> {
        // The level in the message decides, not the queue it came by.
        let handler = received.level.and_then(|level| Some((level, self.handlers.get(&level)?)));
        let Some((level, handler)) = handler else {
            tracing::warn!(level = ?received.level, "a notification that nobody handles is acknowledged");
            return delivery.ack().await;
        };
        let id = received.unique_id.clone();
        if id.as_deref().is_some_and(|id| self.handled.lock().contains(id)) {
            tracing::debug!(id, "a notification came again, and is not handled again");
            return delivery.ack().await;
        }
        let handling = AssertUnwindSafe(async { handler(Event { level, received }).await });
        match handling.catch_unwind().await {
            Ok(NotificationResult::Handled) => {
                if let Some(id) = &id {
                    self.handled.lock().is_repeated(id);
                }
                delivery.ack().await
            }
            Ok(NotificationResult::Requeue) => delivery.reject(true).await,
            Err(_) => {
                tracing::error!(id, "the handler of a notification panicked");
                let again = !delivery.redelivered();
                delivery.reject(again).await
            }
        }
    }
}

fn read(delivery: &Delivery) -> Result<Received, Malformed> {
    Ok(Received::from_json(&envelope::open(delivery)?)?)
}
