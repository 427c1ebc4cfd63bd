//! The listener for single notifications.

use std::{collections::BTreeSet, fmt, sync::Arc};

use amqp_client::{Delivery, Received, Report};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    compress::{Budget, room::Taken},
    consume::{
        handlers::{handling::Handling, inline_executor::InlineExecutor, permits::Permit},
        service::Service,
        settle::{
            acker::Acker,
            on_failure::retries,
            settling::Settling,
            stuck::{Patience, Stuck},
        },
    },
    error::{Error, Malformed},
    oslo::{
        notify::{
            level::Level,
            listen::{
                deduplication::{Deduplication, Entry},
                endpoint::{Endpoint, NotificationResult},
                event::Event,
                sources::{Sources, sources},
            },
            wire,
        },
        wire::{
            envelope::{self, Opened},
            fingerprint::Fingerprint,
        },
    },
    trace_context::TraceContext,
    transport::Transport,
};

/// A listener that is about to start. [`Transport::listener`](crate::Transport::listener) makes it.
/// See [`Notifier`](crate::notify::Notifier) for an example.
///
/// A notification is passed to every endpoint that has a handler for its level and wants it, in
/// their order, until one requests requeueing. It is acknowledged when all have handled it, or
/// nobody wants it. One that is delivered twice is handled once, as long as the listener
/// [remembers](Self::repeats) it.
#[derive(Clone)]
pub struct Listener {
    sources: Sources,
    concurrency: u16,
    prefetch: Option<u16>,
    own: Endpoint,
    endpoints: Vec<Endpoint>,
}

sources!(Listener);

impl Listener {
    pub(crate) fn new(transport: &Transport, topic: impl Into<String>) -> Self {
        Listener {
            sources: Sources::new(transport, topic.into()),
            concurrency: 64,
            prefetch: transport.traffic().prefetch.filter(|&notifications| notifications > 0),
            own: Endpoint::new(),
            endpoints: Vec::new(),
        }
    }

    /// Sets how many notifications are handled at once, at least 1. Default 64. With 1, they are
    /// handled in the order of their queue.
    #[must_use]
    pub fn concurrency(mut self, notifications: u16) -> Self {
        self.concurrency = notifications.max(1);
        self
    }

    /// Sets how many notifications of each queue the broker sends before they are acknowledged, at
    /// least 1. Default: the [transport's](crate::TransportOptions::oslo_prefetch), where 0 means
    /// as many as are handled at once.
    #[must_use]
    pub fn prefetch(mut self, notifications: u16) -> Self {
        self.prefetch = Some(notifications.max(1));
        self
    }

    /// Sets a handler for the notifications of a level, which runs before any endpoint's. The
    /// listener consumes only levels that have a handler.
    #[must_use]
    pub fn on<F, Fut>(mut self, level: Level, handler: F) -> Self
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = NotificationResult> + Send + 'static,
    {
        self.own = self.own.on(level, handler);
        self
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Declares and binds the queues, and starts listening. After a lost connection it starts again
    /// by itself.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub async fn start(mut self) -> Result<RunningListener, Error> {
        self.endpoints.insert(0, self.own);
        let levels: BTreeSet<_> = self.endpoints.iter().flat_map(Endpoint::levels).collect();
        let prefetch = self.prefetch.unwrap_or(self.concurrency);
        let endpoints: Arc<[Endpoint]> = self.endpoints.into();
        let permits = Arc::new(Semaphore::new(self.concurrency.into()));
        let budget = self.sources.budget();
        let mut services = Vec::new();
        for (settling, subscription) in self.sources.subscriptions(&levels, prefetch) {
            let (endpoints, permits, budget) = (endpoints.clone(), permits.clone(), budget.clone());
            let deduplication = Deduplication::new(self.sources.repeats);
            let handler =
                Arc::new(NotificationHandler { settling, endpoints, permits, budget, deduplication });
            let listen = move |delivery, mut permit| async move {
                handler.listen(delivery, &mut permit).await;
                permit
            };
            // With a concurrency of 1, notifications must wait for the permit in the order in which
            // they arrive.
            let executor = if self.concurrency == 1 { InlineExecutor::in_order } else { InlineExecutor::new };
            let service = Service::start(vec![subscription.into()], prefetch.into(), executor, listen);
            services.push(service.await?);
        }
        Ok(RunningListener { services })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("targets", &self.sources.targets)
            .field("pools", &self.sources.pools)
            .field("own", &self.own)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// A running listener.
///
/// # On drop
/// It stops at once; notifications that are being handled go back to their queues.
#[must_use = "a listener stops when this is dropped"]
pub struct RunningListener {
    services: Vec<Service>,
}

impl RunningListener {
    /// Stops listening, and waits for the notifications that are being handled. The queues stay,
    /// and continue to be filled.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, handlers are aborted, as when the listener is
    /// dropped.
    pub async fn stop(mut self) {
        self.services.iter().for_each(|service| service.stopper().stop());
        for service in &mut self.services {
            // The reason why a service could not continue has been logged.
            let _ = service.wait().await;
        }
    }
}

impl fmt::Debug for RunningListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningListener").field("queues", &self.services.len()).finish()
    }
}

/// The handling of the notifications of one queue.
struct NotificationHandler {
    settling: Settling,
    endpoints: Arc<[Endpoint]>,
    /// The permits of all queues together; the budget is shared in the same way.
    permits: Arc<Semaphore>,
    budget: Budget,
    deduplication: Deduplication,
}

impl NotificationHandler {
    /// Handles a notification, from its arrival to its acknowledgement.
    async fn listen(&self, delivery: Delivery, permit: &mut Permit) {
        let mut patience = Patience::new(Instant::now());
        // The semaphore is never closed, so this cannot fail.
        let mut place = self.permits.acquire().await;
        let (received, acker) = delivery.split();
        let mut acker = Acker::new(acker, self.settling.observed.process(&received));
        while let Err(stuck) = self.look_at(&received, acker).await {
            drop(place);
            let again = patience.keep(stuck, &self.settling.queue, Some(&received), permit).await;
            let Some(again) = again else { return };
            (acker, place) = (again, self.permits.acquire().await);
        }
    }

    /// Decodes, handles and settles a notification.
    ///
    /// # Errors
    /// It could not be moved where it belongs, and is not settled.
    async fn look_at(&self, received: &Received, acker: Acker) -> Result<(), Stuck> {
        let opened = envelope::open(received, &self.budget).await;
        let Read { unique_id, event, trace, _room } = match opened.and_then(|opened| read(opened, received)) {
            Ok(read) => read,
            Err(reason) => {
                return self.settling.unreadable(Some(received), acker, &Report(&reason).to_string()).await;
            }
        };
        let Some(event) = event else {
            tracing::warn!(
                queue = self.settling.queue,
                "a notification has an unknown level; it is acknowledged unhandled"
            );
            self.settling.done(acker);
            return Ok(());
        };
        let entry = match unique_id {
            None => None,
            Some(id) => match self.deduplication.enter(id).await {
                Some(entry) => Some(entry),
                None => {
                    let queue = &self.settling.queue;
                    tracing::debug!(queue, "a notification was delivered again; it is not handled again");
                    self.settling.done(acker);
                    return Ok(());
                }
            },
        };
        let (queue, operation) = (&self.settling.queue, acker.operation());
        let handling = Handling::of_notification(queue, event.message_id(), trace, operation);
        handling.around(self.handle_and_settle(&event, entry, received, acker)).await
    }

    async fn handle_and_settle(
        &self,
        event: &Event,
        entry: Option<Entry<'_>>,
        received: &Received,
        acker: Acker,
    ) -> Result<(), Stuck> {
        match self.handle(event).await {
            Ok(()) => {
                if let Some(entry) = entry {
                    entry.handled();
                }
                self.settling.done(acker);
                Ok(())
            }
            Err(failure) => {
                // The entry is dropped first, so that nobody waits for it while the notification is
                // published elsewhere.
                drop(entry);
                self.settling.failed(Some(received), acker, failure).await
            }
        }
    }

    async fn handle(&self, event: &Event) -> Result<(), &'static str> {
        for endpoint in self.endpoints.iter() {
            endpoint.handle(event).await?;
        }
        Ok(())
    }
}

/// A notification that was decoded.
pub(super) struct Read {
    /// The id by which duplicates are recognised.
    pub(super) unique_id: Option<Fingerprint>,
    /// The event; `None` when its level is not known. The level in the message decides, not the
    /// queue that it came from.
    pub(super) event: Option<Event>,
    pub(super) trace: Option<TraceContext>,
    /// The memory reserved from the budget for a compressed notification, for as long as it is
    /// handled.
    pub(super) _room: Option<Taken>,
}

pub(super) fn read(opened: Opened, delivery: &Received) -> Result<Read, Malformed> {
    let Opened { text, trace, room: _room } = opened;
    let mut received = wire::Received::from_json(&text)?;
    let retries = retries(&delivery.properties().map_err(Malformed::Properties)?);
    let unique_id = received.unique_id.take().map(|id| Fingerprint::of(&id));
    let event = received
        .level
        .map(|level| Event::new(level, received, retries.saturating_add(1), delivery.redelivered()));
    Ok(Read { unique_id, event, trace, _room })
}
