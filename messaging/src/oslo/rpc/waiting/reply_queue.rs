//! The reply queue, which all calls of a transport share, and the calls that wait for replies.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{Arc, Weak},
    time::Duration,
};

use amqp_client::{ConsumeOptions, DeleteOptions, Delivery, Queue, Report};
use tokio::{
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    compress::Budget,
    connection::lazy_connection::LazyConnection,
    consume::{consumer::RawConsumer, subscription::Subscription},
    error::Error,
    oslo::{
        rpc::{
            message::wire::ReceivedReply,
            waiting::unopened::{Read, Reply, Unopened},
        },
        wire::id::{Id, IdHasher},
    },
    retry::{Retry, RetryPolicy},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The pauses between attempts to consume from the queue again, as long as a call waits for a
/// reply.
const RESTART: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(50), Duration::from_secs(5)).deadline(Duration::MAX);

/// A reply queue: declared and consumed from on first use, and again under the same name when its
/// connection was lost.
#[derive(Clone)]
pub(crate) struct ReplyQueue(Arc<Inner>);

struct Inner {
    link: LazyConnection,
    queue: Queue,
    options: ConsumeOptions,
    consuming: AtomicBool,
    /// A lock that is held while the consumer starts.
    starting: tokio::sync::Mutex<()>,
    task: Mutex<Option<AbortHandle>>,
    waiting: Mutex<Waiting>,
    /// The memory for replies that came compressed and that no call has taken.
    budget: Budget,
    late: AtomicU64,
}

/// The calls that wait.
#[derive(Default)]
struct Waiting {
    calls: HashMap<Id, Waiter, BuildHasherDefault<IdHasher>>,
    /// The latest deadline of all calls until now.
    until: Option<Instant>,
}

struct Waiter {
    sender: oneshot::Sender<ReceivedReply>,
    /// A result that came before the last reply, as old servers send it.
    early: Option<ReceivedReply>,
    /// The signal that a heartbeat has come, if the call is monitored.
    heard: Option<Arc<Notify>>,
}

impl ReplyQueue {
    pub(crate) fn new(link: LazyConnection, queue: Queue, options: ConsumeOptions, budget: Budget) -> Self {
        let (consuming, starting, task, waiting, late) = Default::default();
        ReplyQueue(Arc::new(Inner { link, queue, options, consuming, starting, task, waiting, budget, late }))
    }

    /// Returns the name that goes into requests.
    pub(crate) fn name(&self) -> &str {
        self.0.queue.name()
    }

    /// Whether replies are consumed at this moment.
    pub(crate) fn is_consumed(&self) -> bool {
        self.0.consuming.load(Ordering::Acquire)
    }

    /// Starts consuming replies, unless that has happened.
    pub(crate) async fn ensure(&self) -> Result<(), Error> {
        if self.is_consumed() {
            return Ok(());
        }
        if let Some(raw) = self.0.start().await? {
            let task = tokio::spawn(consume(Arc::downgrade(&self.0), raw));
            *self.0.task.lock() = Some(task.abort_handle());
        }
        Ok(())
    }

    /// Registers a new call, which gets its reply and, if it is monitored, the server's heartbeats.
    /// The call ends by itself at its deadline.
    pub(crate) fn expect(&self, monitored: bool, deadline: Instant) -> Expected {
        let (sender, receiver) = oneshot::channel();
        let id = Id::new();
        let heard = monitored.then(Arc::default);
        let mut waiting = self.0.waiting.lock();
        waiting.calls.insert(id, Waiter { sender, early: None, heard: heard.clone() });
        waiting.until = waiting.until.max(Some(deadline));
        drop(waiting);
        Expected { id, receiver, heard, queue: self.clone() }
    }

    /// Returns how many calls wait for their reply.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.lock().calls.len()
    }

    /// Returns how many replies came that nobody waited for any more.
    pub(crate) fn late(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }

    /// Deletes the queue. Waiting calls are not told: they end at their deadlines.
    pub(crate) async fn close(&self) {
        if let Some(task) = self.0.task.lock().take() {
            task.abort();
        }
        if !self.0.consuming.swap(false, Ordering::AcqRel) {
            return;
        }
        // If this fails, the queue expires by itself.
        if self.0.link.is_connected()
            && let Ok(channel) = self.0.link.open_channel().await
            && let Err(error) = channel.delete_queue(self.name(), DeleteOptions::new()).await
        {
            tracing::debug!(queue = self.name(), error = %Report(&error), "cannot delete the reply queue; it expires by itself");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

/// A call that waits for its reply.
///
/// # On drop
/// The call is forgotten: a late reply is dropped.
pub(crate) struct Expected {
    id: Id,
    receiver: oneshot::Receiver<ReceivedReply>,
    heard: Option<Arc<Notify>>,
    queue: ReplyQueue,
}

impl Expected {
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Waits for the reply.
    pub(crate) async fn reply(&mut self) -> Result<ReceivedReply, Error> {
        // The sender stays in the map for as long as this value lives.
        (&mut self.receiver).await.map_err(|_| Error::Closed)
    }

    /// Returns the signal of the server's heartbeats, if the call is monitored.
    pub(crate) fn heartbeats(&self) -> Option<Arc<Notify>> {
        self.heard.clone()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.queue.0.waiting.lock().calls.remove(&self.id);
    }
}

/// Passes replies to the calls that wait for them, for as long as the queue exists. The reference
/// is weak so that this task does not keep the transport alive.
async fn consume(queue: Weak<Inner>, mut raw: RawConsumer) {
    let Some(mut unopened) = queue.upgrade().map(|queue| Unopened::new(queue.budget.clone())) else { return };
    loop {
        let error = loop {
            let arrived = tokio::select! {
                biased;
                reply = unopened.next() => Arrived::Reply(reply),
                delivery = raw.recv(), if !unopened.is_full() => match delivery {
                    Ok(delivery) => Arrived::Delivery(delivery),
                    Err(error) => break error,
                },
            };
            let Some(queue) = queue.upgrade() else { return };
            let reply = match arrived {
                Arrived::Reply(reply) => reply,
                Arrived::Delivery(delivery) => unopened.open(delivery, queue.until()),
            };
            if let Some(reply) = reply {
                queue.accept(reply).await;
            }
        };
        let Some(queue) = queue.upgrade() else { return };
        tracing::debug!(queue = queue.queue.name(), error = %Report(&error), "consuming from the reply queue ended; it restarts while calls wait");
        match queue.start_again().await {
            Some(started) => raw = started,
            None => return,
        }
    }
}

/// An event that the task of the queue waits for.
enum Arrived {
    Delivery(Delivery),
    /// A reply that had to wait for room.
    Reply(Option<Reply>),
}

impl Inner {
    /// Returns the time at which all calls of this moment have ended.
    fn until(&self) -> Instant {
        self.waiting.lock().until.unwrap_or_else(Instant::now)
    }

    /// Starts a consumer of the queue; returns `None` when there is one already.
    async fn start(&self) -> Result<Option<RawConsumer>, Error> {
        let _starting = self.starting.lock().await;
        if self.consuming.load(Ordering::Acquire) {
            return Ok(None);
        }
        // Replies need no prefetch limit: the number of waiting calls limits them.
        let subscription = Subscription::new(self.link.clone(), self.queue.clone())
            .options(self.options.clone())
            .prefetch(0);
        let raw = subscription.start_raw().await?;
        self.consuming.store(true, Ordering::Release);
        Ok(Some(raw))
    }

    /// Starts consuming again as soon as that is possible, for as long as a call waits for a reply.
    async fn start_again(&self) -> Option<RawConsumer> {
        self.consuming.store(false, Ordering::Release);
        let mut retry = Retry::start(RESTART);
        while !self.waiting.lock().calls.is_empty() {
            retry.begin();
            match self.start().await {
                Ok(started) => return started,
                Err(Error::Closed) => return None,
                // Waiting calls end at their deadlines; the next call gets the error.
                Err(error) if error.ends_consuming() => {
                    tracing::warn!(queue = self.queue.name(), error = %Report(&error), "cannot consume from the reply queue; waiting calls end at their deadlines");
                    return None;
                }
                Err(error) => {
                    tracing::debug!(queue = self.queue.name(), error = %Report(&error), "cannot consume from the reply queue yet; another attempt follows");
                }
            }
            retry.pause().await;
        }
        None
    }

    async fn accept(&self, Reply { acker, read }: Reply) {
        let settled = match read {
            Read::Reply(reply) => {
                self.tell(reply);
                acker.ack().await
            }
            Read::Malformed(reason) => {
                tracing::warn!(queue = self.queue.name(), reason = %Report(&reason), "a reply cannot be decoded; it is rejected, and its call ends at its deadline");
                acker.reject(false).await
            }
            Read::Refused => {
                tracing::warn!(
                    queue = self.queue.name(),
                    "there is no room for a compressed reply because others have not been taken; it is rejected, and its call ends at its deadline"
                );
                acker.reject(false).await
            }
        };
        if let Err(error) = settled {
            tracing::debug!(queue = self.queue.name(), error = %Report(&error), "a reply could not be settled");
        }
    }

    fn tell(&self, mut reply: ReceivedReply) {
        let Some(id) = reply.call() else {
            tracing::debug!("a reply names no call; it is ignored");
            return;
        };
        let mut waiting = self.waiting.lock();
        if !reply.is_last() {
            let Some(waiter) = waiting.calls.get_mut(&id) else { return };
            if reply.has_answer() {
                waiter.early = Some(reply);
            } else if let Some(heard) = &waiter.heard {
                heard.notify_one();
            }
            return;
        }
        let Some(waiter) = waiting.calls.remove(&id) else {
            drop(waiting);
            self.drop_late();
            return;
        };
        if !reply.has_answer()
            && let Some(early) = waiter.early
        {
            reply = early;
        }
        drop(waiting);
        // An error means that the call was dropped just now.
        if waiter.sender.send(reply).is_err() {
            self.drop_late();
        }
    }

    fn drop_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(queue = self.queue.name(), "a late or repeated reply is dropped");
    }
}
