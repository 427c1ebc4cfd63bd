//! A running worker.

use std::{fmt, sync::Arc};

use tokio::task::JoinHandle;

use crate::{
    celery::{
        remote::node::Node,
        worker::{
            builder::WorkerBuilder, consumers::Consumers, events::Events, in_hand::InHand, node::Remote,
            runner::Runner, slots::Slots, store::Store, task::call::serializers,
        },
    },
    error::Error,
    sync::{Mutex, watch},
};

/// A running worker of Celery's tasks. [`WorkerBuilder::start`] makes it.
///
/// # On drop
/// Tasks that run are aborted. Messages that are not acknowledged go back to their queues.
#[must_use = "a worker stops when it is dropped"]
pub struct Worker {
    remote: Remote,
    node: Option<Node>,
    sending: JoinHandle<()>,
}

impl WorkerBuilder {
    /// Declares the queues, and begins to run tasks until the worker is stopped, by
    /// [`stop`](Worker::stop) or by remote control.
    ///
    /// Lost connections are recovered. Tasks whose messages were not acknowledged then come again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use messaging::{Transport, celery::{Celery, Raise, Task}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let transport = Transport::connect("memory://celery-worker").await?;
    /// let app = Celery::new(&transport);
    /// let add = |_, (a, b): (i64, i64)| async move { Ok::<_, Raise>(a + b) };
    /// let worker = app.worker().task(Task::new("proj.add", add)).start().await?;
    ///
    /// let sum = app.task("proj.add").args((2, 3)).send::<i64>().await?;
    /// assert_eq!(sum.get(Duration::from_secs(10)).await?, 5);
    /// worker.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration; when another worker of
    /// this name is there.
    ///
    /// # Cancel safety
    /// Queues and exchanges that were declared stay.
    pub async fn start(self) -> Result<Worker, Error> {
        let WorkerBuilder { app, name, tasks, mut queues, settings } = self;
        if queues.is_empty() {
            queues.push(app.declared(app.default_queue_name()).into());
        }
        let runner = Arc::new(Runner {
            tasks: tasks.into_iter().map(|task| (task.name.clone(), task)).collect(),
            in_hand: InHand::default(),
            slots: Slots::new(settings.concurrency.into()),
            store: Store::new(app.transport()),
            events: Mutex::new(None),
            serializers: serializers(),
            stopping: watch::channel(false).0,
            app,
            name,
            settings,
        });
        let remote = Remote { runner: runner.clone(), consumers: Arc::new(Consumers::default()) };
        let node = runner.app.controls().node(&runner.name, remote.clone());
        let node = node.heartbeat(runner.settings.heartbeat).task_events(runner.settings.task_events);
        let node = remote.commands(node).start().await?;
        let (events, sending) = Events::new(node.emitter());
        *runner.events.lock() = Some(events);
        let worker = Worker { remote, node: Some(node), sending: tokio::spawn(sending) };
        for queue in queues {
            worker.remote.consumers.add(&runner, queue).await?;
        }
        Ok(worker)
    }
}

impl Worker {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.remote.runner.name
    }

    /// Takes no more tasks, and waits for those that run: Celery's warm shutdown. Tasks that have
    /// not begun go back to their queues.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, running tasks are aborted.
    pub async fn stop(mut self) {
        self.remote.stop();
        // The reason why it ended before does not prevent the stop.
        let _ = self.wait().await;
    }

    /// Waits until the worker was stopped by remote control, or cannot consume from any of its
    /// queues any more, and no task runs.
    ///
    /// # Errors
    /// Why a queue could not be consumed from any more, unless its transport was closed.
    ///
    /// # Cancel safety
    /// When the future is dropped the worker goes on, and can be waited for again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        let mut ended = self.remote.consumers.ended().await;
        if ended.is_ok() && self.remote.consumers.queues().is_empty() {
            // Remote control has taken the last queue away, and may add others.
            let _ = self.remote.runner.stopping.subscribe().wait_for(|stop| *stop).await;
            ended = self.remote.consumers.ended().await;
        }
        self.remote.stop();
        *self.remote.runner.events.lock() = None;
        if !self.sending.is_finished() {
            let _ = (&mut self.sending).await;
        }
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
        ended
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.remote.consumers.abort();
        self.sending.abort();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name()).finish_non_exhaustive()
    }
}
