//! Emitting buffered notifications.

use std::{sync::Arc, time::Duration};

use amqp_client::{Error as Client, Report};
use futures_util::future::{join, join_all, pending};
use tokio::{
    sync::{RwLock, watch},
    time::{Instant, sleep_until},
};

use crate::oslo::error::notify::NotifyError;
use crate::oslo::notify::{
    driver::Driver,
    emit::{
        backlog::{Backlog, Turn, Waiting},
        spool::Spool,
    },
    notification::Notification,
};
use crate::{
    error::{Error, Outcome},
    retry::{Retry, RetryPolicy},
    sync::Mutex,
};

/// A callback for notifications that are given up.
pub(super) type Lost = Arc<dyn Fn(&Notification, &Error) + Send + Sync>;

/// The buffer makes the pauses. There are two attempts: a message that may be sent only once is not
/// sent again when the broker refuses another one on the same channel.
const ATTEMPT: RetryPolicy = RetryPolicy::exponential(Duration::ZERO, Duration::ZERO)
    .attempts(2)
    .attempt_timeout(Duration::from_secs(10));

/// The place where notifications are kept besides memory.
pub(super) enum Keeping {
    Nowhere,
    OnDisk(Spool),
    /// No more notifications are accepted.
    Closed,
}

/// The state that a buffer and its task share.
pub(super) struct Emitter {
    pub(super) driver: Box<dyn Driver>,
    pub(super) backlog: Mutex<Backlog>,
    pub(super) keeping: RwLock<Keeping>,
    /// The number of notifications that wait.
    pub(super) waiting: watch::Sender<usize>,
    pub(super) in_flight: usize,
    pub(super) give_up: Option<Duration>,
    pub(super) pauses: RetryPolicy,
    pub(super) on_lost: Lost,
}

impl Emitter {
    /// Puts a notification into the buffer.
    pub(super) async fn take(&self, notification: &Notification) -> Result<(), Error> {
        // The guard is held until the record is written, so that the spool is not closed before.
        let keeping = self.keeping.read().await;
        let spool = match &*keeping {
            Keeping::Closed => return Err(Error::Closed),
            Keeping::Nowhere => None,
            Keeping::OnDisk(spool) => Some((spool, Spool::record(notification)?)),
        };
        let (waiting, displaced, kept) = {
            let mut backlog = self.backlog.lock();
            let (waiting, displaced) = backlog.push(notification.clone())?;
            // The record is ordered before anybody can emit the notification and order its removal.
            let kept = spool.map(|(spool, record)| {
                displaced.iter().for_each(|displaced| spool.forget(displaced.number));
                spool.keep(waiting.number, record)
            });
            (waiting, displaced, kept)
        };
        for displaced in displaced {
            (self.on_lost)(&displaced.notification, &NotifyError::Displaced.into());
        }
        self.tell();
        let Some(kept) = kept else { return Ok(()) };
        let kept = kept.await;
        if kept.is_err() {
            self.backlog.lock().remove(waiting.number);
            self.tell();
        }
        kept
    }

    /// Emits waiting and new notifications, until it is aborted. Those that fail for reasons of
    /// their own do not hold up the others.
    pub(super) async fn run(self: Arc<Self>) {
        join(self.run_turns(Turn::First), self.run_turns(Turn::Again)).await;
    }

    async fn run_turns(&self, turn: Turn) {
        let mut changed = self.waiting.subscribe();
        let mut retry = Retry::start(self.pauses);
        loop {
            changed.mark_unchanged();
            let batch = self.backlog.lock().take(turn, self.in_flight, Instant::now());
            if batch.is_empty() {
                self.wait(turn, &mut changed).await;
                continue;
            }
            retry.begin();
            // The oldest is emitted alone first: without a connection, a later one might otherwise
            // get one first.
            let (first, others) = batch.split_at(1);
            let failure = match self.emit(first).await {
                None => self.emit(others).await,
                failure => failure,
            };
            batch.iter().for_each(|waiting| self.backlog.lock().land(waiting.number));
            self.tell();
            match failure {
                None => retry = Retry::start(self.pauses),
                Some(error) => {
                    tracing::warn!(driver = self.driver.name(), error = %Report(&error), "cannot emit notifications; they wait in the buffer for the next attempt");
                    retry.pause().await;
                }
            }
        }
    }

    /// Waits until there may be something whose turn it is.
    async fn wait(&self, turn: Turn, changed: &mut watch::Receiver<usize>) {
        let due = self.backlog.lock().next_due(turn);
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            // The sender lives as long as this.
            _ = changed.changed() => {}
            () = due => {}
        }
    }

    /// Emits several concurrently, and removes those that are settled. Returns an error that has
    /// nothing to do with the notification it is about.
    async fn emit(&self, batch: &[Arc<Waiting>]) -> Option<Error> {
        let attempts = batch.iter().map(|waiting| self.driver.notify(&waiting.notification, ATTEMPT));
        let results = join_all(attempts).await;
        let mut gone = Vec::with_capacity(batch.len());
        let mut failure = None;
        for (waiting, result) in batch.iter().zip(results) {
            match result {
                Err(error) if !self.is_lost(waiting, &error) => {
                    if is_its_own(&error) {
                        self.postpone(waiting, &error);
                    } else {
                        failure = Some(error);
                    }
                }
                settled => {
                    if let Err(error) = settled {
                        (self.on_lost)(&waiting.notification, &error);
                    }
                    gone.push(waiting.number);
                }
            }
        }
        gone.iter().for_each(|number| self.backlog.lock().remove(*number));
        if let Keeping::OnDisk(spool) = &*self.keeping.read().await {
            gone.iter().for_each(|number| spool.forget(*number));
        }
        failure
    }

    fn postpone(&self, waiting: &Waiting, error: &Error) {
        tracing::warn!(driver = self.driver.name(), notification = ?waiting.notification, error = %Report(error), "cannot emit a notification; it is tried again, and holds up no other");
        let pause = |failures| self.pauses.wait(failures);
        self.backlog.lock().postpone(waiting.number, Instant::now(), pause);
    }

    /// Tells those who wait that the backlog has changed.
    fn tell(&self) {
        self.waiting.send_replace(self.backlog.lock().len());
    }

    /// Whether retrying is useless, or has gone on for long enough.
    fn is_lost(&self, waiting: &Waiting, error: &Error) -> bool {
        is_refused(error)
            || is_unfit(cause(error))
            || self.give_up.is_some_and(|age| waiting.since.elapsed() >= age)
    }
}

/// Returns why a message was not delivered.
fn cause(error: &Error) -> &Error {
    match error {
        Error::Undelivered(undelivered) => undelivered.source.as_deref().unwrap_or(error),
        other => other,
    }
}

/// Tells whether the broker refuses this message, and no other, for its size or its properties.
fn is_refused(error: &Error) -> bool {
    let Error::Undelivered(undelivered) = error else { return false };
    undelivered.outcome == Outcome::Rejected && cause(error).is_precondition_failed()
}

/// Tells whether the message cannot be sent at all.
fn is_unfit(error: &Error) -> bool {
    match error {
        Error::Encode { .. } | Error::Serializer(_) | Error::Compression(_) => true,
        Error::Broker { source, .. } => {
            matches!(source, Client::Invalid(_) | Client::PublishTooLarge { .. })
        }
        _ => false,
    }
}

/// Tells whether the reason concerns this notification and others like it, and not all: the broker
/// refuses it or its queue, or does not answer although it takes messages.
fn is_its_own(error: &Error) -> bool {
    if let Error::Undelivered(undelivered) = error {
        let is_answered = matches!(undelivered.outcome, Outcome::Rejected | Outcome::Unroutable);
        let is_late = undelivered.outcome == Outcome::Unknown
            && matches!(undelivered.source.as_deref(), Some(Error::Timeout { .. }));
        if is_answered || is_late {
            return true;
        }
    }
    match cause(error) {
        Error::Conflict(_) | Error::QueueTaken { .. } => true,
        Error::Broker { source, .. } => matches!(source, Client::ChannelClosed { .. }),
        _ => false,
    }
}
