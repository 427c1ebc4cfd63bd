//! Results by Celery's `rpc://`: workers publish them to a queue of this application.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use amqp_client::{Queue, Report};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::watch, task::AbortHandle};
use uuid::Uuid;

use crate::{
    celery::tasks::state::TaskState, consume::typed_consumer::Consumer, error::Error, sync::Mutex,
    transport::Transport,
};

/// Celery's `result_expires`: for so long the queue stays when nobody consumes from it.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);
/// How many results the broker sends before they are read.
const PREFETCH: u16 = 1000;

/// What a worker stores of a task.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Stored {
    #[serde(default)]
    task_id: Option<String>,
    pub(super) status: TaskState,
    #[serde(default)]
    pub(super) result: Value,
    #[serde(default)]
    pub(super) traceback: Option<String>,
}

/// What is known of a task; `None` before anything is heard of it.
type Known = Option<Arc<Stored>>;

/// The results that come to one queue. Cloning gives another handle to it.
///
/// # On drop
/// With the last handle the queue is deleted.
#[derive(Clone)]
pub(super) struct Results(Arc<Inner>);

struct Inner {
    transport: Transport,
    queue: String,
    starting: tokio::sync::Mutex<()>,
    /// The task that receives results, while it runs.
    receiving: Mutex<Option<AbortHandle>>,
    waiting: Mutex<HashMap<String, watch::Sender<Known>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(receiving) = self.receiving.lock().take() {
            receiving.abort();
        }
    }
}

/// One who waits for the result of a task.
///
/// # On drop
/// The result is not waited for any more.
pub(super) struct Waiting {
    id: String,
    results: Weak<Inner>,
    known: watch::Receiver<Known>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(results) = self.results.upgrade() {
            results.waiting.lock().remove(&self.id);
        }
    }
}

impl Waiting {
    pub(super) fn state(&self) -> TaskState {
        self.known.borrow().as_ref().map_or(TaskState::Pending, |known| known.status.clone())
    }

    /// Waits until the task has ended; `None` when nobody can tell any more.
    pub(super) async fn ended(&self) -> Option<Arc<Stored>> {
        let mut known = self.known.clone();
        let has_ended = |known: &Known| known.as_ref().is_some_and(|known| known.status.is_final());
        known.wait_for(has_ended).await.ok()?.clone()
    }
}

impl Results {
    pub(super) fn new(transport: &Transport) -> Self {
        let (starting, receiving, waiting) = Default::default();
        let (transport, queue) = (transport.clone(), Uuid::new_v4().to_string());
        Results(Arc::new(Inner { transport, queue, starting, receiving, waiting }))
    }

    /// The name of the queue.
    pub(super) fn queue(&self) -> &str {
        &self.0.queue
    }

    /// Begins to wait for a task that will be sent. Results are received from then on.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses the queue.
    pub(super) async fn expect(&self, id: &str) -> Result<Waiting, Error> {
        self.receive().await?;
        let (sender, known) = watch::channel(None);
        self.0.waiting.lock().insert(id.to_owned(), sender);
        Ok(Waiting { id: id.to_owned(), results: Arc::downgrade(&self.0), known })
    }

    /// Begins to receive results, unless that has happened.
    async fn receive(&self) -> Result<(), Error> {
        let is_receiving =
            || self.0.receiving.lock().as_ref().is_some_and(|receiving| !receiving.is_finished());
        if is_receiving() {
            return Ok(());
        }
        let _starting = self.0.starting.lock().await;
        if is_receiving() {
            return Ok(());
        }
        let queue = Queue::new(&self.0.queue).auto_delete(true).expires(EXPIRES);
        let consumer = self.0.transport.consumer(queue).prefetch(PREFETCH).start::<Stored>().await?;
        let receiving = tokio::spawn(receive(consumer, Arc::downgrade(&self.0)));
        *self.0.receiving.lock() = Some(receiving.abort_handle());
        Ok(())
    }
}

/// Receives results until the transport is closed, or nobody is there for them.
async fn receive(mut consumer: Consumer<Stored>, results: Weak<Inner>) {
    loop {
        let next = consumer.recv().await;
        let Some(results) = results.upgrade() else { return };
        match next {
            Some(Ok(delivery)) => {
                let stored = delivery.body().clone();
                let properties = delivery.properties();
                let correlation = properties.ok().and_then(|properties| properties.correlation_id);
                let id = stored.task_id.clone().or_else(|| correlation.map(|id| id.to_string()));
                if let Some(id) = id {
                    results.tell(&id, stored);
                }
                acknowledge(delivery.ack().await);
            }
            Some(Err(Error::Undecodable(undecodable))) => {
                tracing::warn!(error = %Report(&undecodable.reason), "the result of a task cannot be decoded; it is dropped");
                acknowledge(undecodable.delivery.ack().await);
            }
            // The consumer has logged why it ended.
            Some(Err(_)) | None => {
                results.waiting.lock().clear();
                return;
            }
        }
    }
}

fn acknowledge<E: std::error::Error>(acknowledged: Result<(), E>) {
    if let Err(error) = acknowledged {
        tracing::debug!(error = %Report(&error), "the result of a task is not acknowledged; it comes again");
    }
}

impl Inner {
    /// Tells whoever waits for it. Nothing follows on a final state.
    fn tell(&self, id: &str, stored: Stored) {
        let mut waiting = self.waiting.lock();
        let sender = match stored.status.is_final() {
            true => waiting.remove(id),
            false => waiting.get(id).cloned(),
        };
        if let Some(sender) = sender {
            sender.send_replace(Some(Arc::new(stored)));
        }
    }
}
