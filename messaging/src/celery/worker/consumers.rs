//! The queues that a worker consumes from.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::Arc,
    task::{Poll, ready},
};

use tokio::task::JoinSet;

use crate::{
    celery::worker::runner::Runner,
    consume::{
        bound_queue::BoundQueue,
        handlers::inline_executor::InlineExecutor,
        service::{Service, Stopper},
        settle::on_failure::{OnFailure, RetryLater},
    },
    error::Error,
    sync::Mutex,
};

/// The most tasks of a queue that wait for their time beside the prefetch.
const MOST_WAITING: usize = u16::MAX as usize;

/// The queues that a worker consumes from, each with a service of its own.
#[derive(Default)]
pub(super) struct Consumers {
    stoppers: Mutex<BTreeMap<String, Stopper>>,
    running: Mutex<JoinSet<Result<(), Error>>>,
}

impl Consumers {
    /// Begins to consume from a queue.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub(super) async fn add(&self, runner: &Arc<Runner>, queue: BoundQueue) -> Result<(), Error> {
        let settings = &runner.settings;
        let prefetch = settings.concurrency.saturating_mul(settings.multiplier);
        let subscription = runner.app.transport().subscription(queue).prefetch(prefetch);
        let name = subscription.queue_name().to_owned();
        let aside = RetryLater::after(std::time::Duration::ZERO).dead_letter(true);
        let settling = Arc::new(subscription.settling(OnFailure::Retry(aside)));
        let runner = runner.clone();
        let handle = move |delivery, permit| runner.handle(settling, delivery, permit);
        let at_once = if prefetch == 0 { MOST_WAITING } else { prefetch.into() };
        let limits = (at_once, MOST_WAITING);
        let mut service =
            Service::start_holding(subscription.into(), limits, InlineExecutor::new, handle).await?;
        let before = self.stoppers.lock().insert(name, service.stopper());
        if let Some(before) = before {
            before.stop();
        }
        self.running.lock().spawn(async move { service.wait().await });
        Ok(())
    }

    /// Stops consuming from a queue; tasks that run go on. Returns whether it was consumed from.
    pub(super) fn cancel(&self, queue: &str) -> bool {
        let stopper = self.stoppers.lock().remove(queue);
        stopper.inspect(Stopper::stop).is_some()
    }

    pub(super) fn queues(&self) -> Vec<String> {
        self.stoppers.lock().keys().cloned().collect()
    }

    pub(super) fn stop(&self) {
        self.stoppers.lock().values().for_each(Stopper::stop);
    }

    /// Aborts the tasks that run.
    pub(super) fn abort(&self) {
        self.running.lock().abort_all();
    }

    /// Waits until no queue is consumed from any more and no task runs.
    ///
    /// # Errors
    /// Why one of them could not be consumed from any more.
    pub(super) async fn ended(&self) -> Result<(), Error> {
        let mut reason = Ok(());
        poll_fn(|context| {
            while let Some(ended) = ready!(self.running.lock().poll_join_next(context)) {
                if let Ok(Err(error)) = ended
                    && reason.is_ok()
                {
                    reason = Err(error);
                }
            }
            Poll::Ready(())
        })
        .await;
        reason
    }
}
