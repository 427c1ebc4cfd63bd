//! Listening for notifications in batches.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use amqp_client::{Delivery, Received, Report};
use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    compress::{Budget, room::Taken},
    consume::{
        handlers::{handling::Handling, inline_executor::InlineExecutor, permits::Permit},
        service::Service,
        settle::{
            acker::Acker,
            settling::Settling,
            stuck::{Patience, Stuck},
        },
    },
    error::Error,
    oslo::{
        notify::{
            level::Level,
            listen::{
                batch::{BatchEndpoint, BatchResult},
                deduplication::Deduplication,
                event::Event,
                listener::{Read, read},
                sources::{Sources, sources},
            },
        },
        wire::{envelope, fingerprint::Fingerprint},
    },
    telemetry::observer::{HANDLER_FAILED, Operation},
    trace_context::TraceContext,
    transport::Transport,
};

/// A listener for batches that is about to start.
/// [`Transport::batch_listener`](crate::Transport::batch_listener) makes it.
///
/// Notifications of all queues are gathered together until the batch is full, or the first has
/// waited for long enough. They are handled level by level, in the alphabetical order of the
/// levels' names, by one endpoint after the other; each is acknowledged or requeued separately.
/// Batches are handled one after the other, each in a span `batch` with `queues` and the number of
/// its `notifications`. These may belong to many traces, so a handler runs in none of them.
///
/// ```
/// use std::time::Duration;
/// use messaging::{Context, Transport, notify::{BatchListener, BatchResult, Event, Level}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://batch-example").await?;
/// let (sender, mut batches) = tokio::sync::mpsc::unbounded_channel();
/// let listener = transport.batch_listener("notifications", 3)
///     .timeout(Duration::from_secs(60))
///     .on(Level::Sample, move |events: Vec<Event>| {
///         let _ = sender.send(events.len());
///         async { BatchResult::Handled }
///     })
///     .start()
///     .await?;
/// let notifier = transport.notifier("meter.host1", "notifications");
/// for load in [0.5, 0.7, 0.6] {
///     notifier.sample(&Context::new(), "cpu.load", &load).await?;
/// }
/// assert_eq!(batches.recv().await, Some(3));
/// listener.stop().await;
/// transport.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct BatchListener {
    sources: Sources,
    size: u16,
    timeout: Duration,
    own: BatchEndpoint,
    endpoints: Vec<BatchEndpoint>,
}

sources!(BatchListener);

impl BatchListener {
    pub(crate) fn new(transport: &Transport, topic: impl Into<String>, size: u16) -> Self {
        BatchListener {
            sources: Sources::new(transport, topic.into()),
            size: size.max(1),
            timeout: Duration::from_secs(1),
            own: BatchEndpoint::new(),
            endpoints: Vec::new(),
        }
    }

    /// Sets how long the first notification of a batch waits for the others; default 1 second.
    /// Python's listeners wait without limit, and meanwhile keep the gathered ones unacknowledged.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets a handler for the notifications of a level, which runs before any endpoint's. The
    /// listener consumes only levels that have a handler.
    #[must_use]
    pub fn on<F, Fut>(mut self, level: Level, handler: F) -> Self
    where
        F: Fn(Vec<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = BatchResult> + Send + 'static,
    {
        self.own = self.own.on(level, handler);
        self
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: BatchEndpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Declares and binds the queues, and starts listening. After a lost connection it starts again
    /// by itself.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub async fn start(mut self) -> Result<RunningBatchListener, Error> {
        self.endpoints.insert(0, self.own);
        let levels: BTreeSet<_> = self.endpoints.iter().flat_map(BatchEndpoint::levels).collect();
        // While a batch is handled the next one is gathered.
        let prefetch = self.size.saturating_mul(2);
        let (sender, arrived) = mpsc::unbounded_channel();
        let mut services = Vec::new();
        for (settling, subscription) in self.sources.subscriptions(&levels, prefetch) {
            let (queue, sender) = (
                Arc::new(Queue { settling, deduplication: Deduplication::new(self.sources.repeats) }),
                sender.clone(),
            );
            let gather = move |delivery: Delivery, permit| {
                // The permit is held until the notification is settled: until then the service does
                // not end, and the channel stays open for the acknowledgement.
                let (received, acker) = delivery.split();
                let acker = Acker::new(acker, queue.settling.observed.one_of_many(&received));
                let settling = arrive(&sender, (received, acker), queue.clone());
                see_settled(settling, sender, queue, permit)
            };
            let sources = vec![subscription.into()];
            services.push(Service::start(sources, prefetch.into(), InlineExecutor::in_order, gather).await?);
        }
        drop(sender);
        let (stop, stopping) = watch::channel(false);
        let gathering = Gathering {
            arrived,
            again: VecDeque::new(),
            budget: self.sources.budget(),
            size: self.size.into(),
            timeout: self.timeout,
            endpoints: self.endpoints,
            stopping,
        };
        let mut task = JoinSet::new();
        task.spawn(gathering.run());
        Ok(RunningBatchListener { services, stop, task })
    }
}

impl fmt::Debug for BatchListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchListener")
            .field("targets", &self.sources.targets)
            .field("pools", &self.sources.pools)
            .field("size", &self.size)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A running listener for batches.
///
/// # On drop
/// It stops at once; notifications that are being gathered or handled go back to their queues.
#[must_use = "a listener stops when this is dropped"]
pub struct RunningBatchListener {
    services: Vec<Service>,
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl RunningBatchListener {
    /// Stops listening, and waits until the notifications in progress are handled. Those gathered
    /// so far are handled without waiting for more. The queues stay, and continue to be filled.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, handlers are aborted, as when the listener is
    /// dropped.
    pub async fn stop(mut self) {
        self.services.iter().for_each(|service| service.stopper().stop());
        self.stop.send_replace(true);
        for service in &mut self.services {
            // The reason why a service could not continue has been logged.
            let _ = service.wait().await;
        }
        // The services have dropped their senders, so the task ends.
        while self.task.join_next().await.is_some() {}
    }
}

impl fmt::Debug for RunningBatchListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningBatchListener").field("queues", &self.services.len()).finish()
    }
}

/// One queue, with the memory of what was handled from it.
struct Queue {
    settling: Settling,
    deduplication: Deduplication,
}

struct Arrived {
    received: Received,
    acker: Acker,
    queue: Arc<Queue>,
    /// It is dropped when the notification is settled, and used when that is not possible.
    settled: oneshot::Sender<(Stuck, Received)>,
}

/// Passes a notification to the task that makes batches. Returns what tells when it is settled.
fn arrive(
    sender: &mpsc::UnboundedSender<Arrived>,
    (received, acker): (Received, Acker),
    queue: Arc<Queue>,
) -> oneshot::Receiver<(Stuck, Received)> {
    let (settled, settling) = oneshot::channel();
    // If that task has ended, dropping `settled` has the same effect as settling.
    drop(sender.send(Arrived { received, acker, queue, settled }));
    settling
}

/// Waits until a notification is settled. One that cannot be settled is put into another batch
/// after a pause.
async fn see_settled(
    mut settling: oneshot::Receiver<(Stuck, Received)>,
    sender: mpsc::UnboundedSender<Arrived>,
    queue: Arc<Queue>,
    mut permit: Permit,
) -> Permit {
    let mut patience = Patience::new(Instant::now());
    while let Ok((stuck, received)) = settling.await {
        let again = patience.keep(stuck, &queue.settling.queue, Some(&received), &mut permit).await;
        let Some(acker) = again else { break };
        settling = arrive(&sender, (received, acker), queue.clone());
    }
    permit
}

/// A notification that can be handled.
struct Readable {
    arrived: Arrived,
    unique_id: Option<Fingerprint>,
    event: Event,
    trace: Option<TraceContext>,
    _room: Option<Taken>,
    /// The reason why it could not be handled.
    failure: Option<&'static str>,
}

/// The task that gathers batches and has them handled.
struct Gathering {
    arrived: mpsc::UnboundedReceiver<Arrived>,
    /// Second deliveries of notifications of the last batch, and those for which that batch had no
    /// room.
    again: VecDeque<Arrived>,
    /// The budget for decompressed bodies. Only this task uses it, so an empty batch has all of it.
    budget: Budget,
    size: usize,
    timeout: Duration,
    endpoints: Vec<BatchEndpoint>,
    stopping: watch::Receiver<bool>,
}

impl Gathering {
    /// Runs until nothing can arrive any more.
    async fn run(mut self) {
        loop {
            let first = match self.again.pop_front() {
                Some(first) => first,
                None => match self.arrived.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let batch = self.gather(first).await;
            self.handle(batch).await;
        }
    }

    async fn gather(&mut self, first: Arrived) -> Vec<Arrived> {
        // Unlike an addition, this takes a time that goes beyond all instants.
        let deadline = sleep(self.timeout).deadline();
        let mut batch = vec![first];
        while batch.len() < self.size {
            if let Some(next) = self.again.pop_front().or_else(|| self.arrived.try_recv().ok()) {
                batch.push(next);
                continue;
            }
            let next = tokio::select! {
                _ = self.stopping.wait_for(|stopping| *stopping) => return batch,
                next = timeout_at(deadline, self.arrived.recv()) => next,
            };
            match next {
                Ok(Some(next)) => batch.push(next),
                Ok(None) | Err(_) => return batch,
            }
        }
        batch
    }

    async fn handle(&mut self, batch: Vec<Arrived>) {
        let mut by_level = BTreeMap::<&str, Vec<Readable>>::new();
        for readable in self.readable(batch).await {
            by_level.entry(readable.event.level().name()).or_default().push(readable);
        }
        for mut group in by_level.into_values() {
            if let Some(level) = group.first().map(|readable| readable.event.level()) {
                self.show(level, &mut group).await;
            }
            // Settling is concurrent, because each notification may have to be published elsewhere.
            join_all(group.into_iter().map(settle)).await;
        }
    }

    /// Returns the notifications of a batch that are to be handled. The others are settled, or put
    /// into the next batch if the budget has no room for them.
    async fn readable(&mut self, batch: Vec<Arrived>) -> Vec<Readable> {
        let mut readable = Vec::with_capacity(batch.len());
        let mut ids = BTreeSet::new();
        let mut batch = VecDeque::from(batch);
        while let Some(Arrived { received, acker, queue, settled }) = batch.pop_front() {
            let Some(opened) = envelope::try_open(&received, &self.budget) else {
                batch.push_front(Arrived { received, acker, queue, settled });
                batch.extend(self.again.drain(..));
                self.again = batch;
                return readable;
            };
            let Read { unique_id, event, trace, _room } =
                match opened.and_then(|opened| read(opened, &received)) {
                    Ok(read) => read,
                    Err(reason) => {
                        let reason = Report(&reason).to_string();
                        let unreadable = queue.settling.unreadable(Some(&received), acker, &reason);
                        if let Err(stuck) = unreadable.await {
                            let _ = settled.send((stuck, received));
                        }
                        continue;
                    }
                };
            let Some(event) = event else {
                tracing::warn!(
                    queue = queue.settling.queue,
                    "a notification has an unknown level; it is acknowledged unhandled"
                );
                queue.settling.done(acker);
                continue;
            };
            if let Some(id) = unique_id {
                if queue.deduplication.was_handled(id) {
                    let name = &queue.settling.queue;
                    tracing::debug!(
                        queue = name,
                        "a notification was delivered again; it is not handled again"
                    );
                    queue.settling.done(acker);
                    continue;
                }
                // The result of the first delivery decides about the second.
                if !ids.insert((Arc::as_ptr(&queue).addr(), id)) {
                    self.again.push_back(Arrived { received, acker, queue, settled });
                    continue;
                }
            }
            let arrived = Arrived { received, acker, queue, settled };
            readable.push(Readable { arrived, unique_id, event, trace, _room, failure: None });
        }
        readable
    }

    /// Passes the notifications of a level to one endpoint after the other. One that failed is not
    /// passed to the endpoints after that.
    async fn show(&self, level: Level, group: &mut [Readable]) {
        for endpoint in &self.endpoints {
            let mut left: Vec<_> = group.iter_mut().filter(|readable| readable.failure.is_none()).collect();
            let events: Vec<_> = left.iter().map(|readable| readable.event.clone()).collect();
            let queues = left.iter().map(|readable| &*readable.arrived.queue.settling.queue);
            let operation = processing(&left);
            let handling = Handling::of_batch(queues, events.len(), &operation);
            let events: Vec<_> = events.iter().collect();
            let failures = handling.around(endpoint.handle(level, &events)).await;
            operation.end_as(failures.iter().any(Option::is_some).then_some(HANDLER_FAILED));
            for (readable, failure) in left.iter_mut().zip(failures) {
                readable.failure = failure;
            }
        }
    }
}

/// Begins to handle notifications together, as if all were from the queue of the first.
fn processing(group: &[&mut Readable]) -> Operation {
    let traces = group.iter().map(|readable| readable.trace.as_ref());
    let first = group.first().map(|first| &first.arrived.queue.settling.observed);
    first.map(|observed| observed.process_all(traces)).unwrap_or_default()
}

async fn settle(readable: Readable) {
    let Readable { arrived, unique_id, event, trace, _room, failure } = readable;
    let Arrived { received, acker, queue, settled } = arrived;
    if let Some(failure) = failure {
        let (name, operation) = (&queue.settling.queue, acker.operation());
        let handling = Handling::of_notification(name, event.message_id(), trace, operation);
        let failing = queue.settling.failed(Some(&received), acker, failure);
        if let Err(stuck) = handling.around(failing).await {
            // The receiver is gone only when the listener is: the notification then goes back to
            // its queue.
            let _ = settled.send((stuck, received));
        }
        return;
    }
    if let Some(id) = unique_id {
        queue.deduplication.note(id);
    }
    queue.settling.done(acker);
}
