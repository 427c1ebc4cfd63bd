//! The reply queue, which all calls of a transport share, and the calls that wait for replies.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp_client::{ConsumeOptions, DeleteOptions, Delivery, Queue, Report};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    task::AbortHandle,
};

use crate::{
    connection::lazy_connection::LazyConnection,
    consume::{consumer::RawConsumer, subscription::Subscription},
    error::{Error, Malformed},
    oslo::{
        rpc::message::wire::ReceivedReply,
        wire::{
            envelope,
            id::{Id, IdHasher},
        },
    },
    retry::{Retry, RetryPolicy},
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
    waiting: Mutex<HashMap<Id, Waiter, BuildHasherDefault<IdHasher>>>,
    late: AtomicU64,
}

struct Waiter {
    sender: oneshot::Sender<ReceivedReply>,
    /// A result that came before the last reply, as old servers send it.
    early: Option<ReceivedReply>,
    /// The signal that a heartbeat has come, if the call is monitored.
    heard: Option<Arc<Notify>>,
}

impl ReplyQueue {
    pub(crate) fn new(link: LazyConnection, queue: Queue, options: ConsumeOptions) -> Self {
        let (consuming, starting, task, waiting, late) = Default::default();
        ReplyQueue(Arc::new(Inner { link, queue, options, consuming, starting, task, waiting, late }))
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
    pub(crate) fn expect(&self, monitored: bool) -> Expected {
        let (sender, receiver) = oneshot::channel();
        let id = Id::new();
        let heard = monitored.then(Arc::default);
        self.0.waiting.lock().insert(id, Waiter { sender, early: None, heard: heard.clone() });
        Expected { id, receiver, heard, queue: self.clone() }
    }

    /// Returns how many calls wait for their reply.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.lock().len()
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
        self.queue.0.waiting.lock().remove(&self.id);
    }
}

/// Passes replies to the calls that wait for them, for as long as the queue exists. The reference
/// is weak so that this task does not keep the transport alive.
async fn consume(queue: Weak<Inner>, mut raw: RawConsumer) {
    loop {
        let error = loop {
            let delivery = match raw.recv().await {
                Ok(delivery) => delivery,
                Err(error) => break error,
            };
            let Some(queue) = queue.upgrade() else { return };
            queue.accept(delivery).await;
        };
        let Some(queue) = queue.upgrade() else { return };
        tracing::debug!(queue = queue.queue.name(), error = %Report(&error), "consuming from the reply queue ended; it restarts while calls wait");
        match queue.start_again().await {
            Some(started) => raw = started,
            None => return,
        }
    }
}

impl Inner {
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
        while !self.waiting.lock().is_empty() {
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

    async fn accept(&self, delivery: Delivery) {
        let settled = match read(&delivery) {
            Ok(reply) => {
                self.tell(reply);
                delivery.ack().await
            }
            Err(reason) => {
                tracing::warn!(queue = self.queue.name(), reason = %Report(&reason), "a reply cannot be decoded; it is rejected");
                delivery.reject(false).await
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
            let Some(waiter) = waiting.get_mut(&id) else { return };
            if reply.has_answer() {
                waiter.early = Some(reply);
            } else if let Some(heard) = &waiter.heard {
                heard.notify_one();
            }
            return;
        }
        let Some(waiter) = waiting.remove(&id) else {
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

fn read(delivery: &Delivery) -> Result<ReceivedReply, Malformed> {
    Ok(ReceivedReply::from_json(&envelope::open_alone(delivery)?)?)
}
