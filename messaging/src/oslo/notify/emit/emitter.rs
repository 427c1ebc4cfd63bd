//! Emitting buffered notifications.

use std::{sync::Arc, time::Duration};

use amqp_client::Report;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{RwLock, watch};

use crate::oslo::error::notify::NotifyError;
use crate::oslo::notify::{
    driver::Driver,
    emit::{
        backlog::{Backlog, Waiting},
        spool::Spool,
    },
    notification::Notification,
};
use crate::{
    error::Error,
    retry::{Retry, RetryPolicy},
};

/// A callback for notifications that are given up.
pub(super) type Lost = Arc<dyn Fn(&Notification, &Error) + Send + Sync>;

/// A single attempt; the buffer makes the pauses.
const ATTEMPT: RetryPolicy = RetryPolicy::never();

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

    /// Emits waiting and new notifications, until it is aborted.
    pub(super) async fn run(self: Arc<Self>, mut changed: watch::Receiver<usize>) {
        let mut retry = Retry::start(self.pauses);
        loop {
            // The buffer has the sender, and aborts this task before dropping it.
            if changed.wait_for(|waiting| *waiting > 0).await.is_err() {
                return;
            }
            let batch = self.backlog.lock().take(self.in_flight);
            retry.begin();
            // The oldest is emitted alone first: without a connection, a later one might otherwise
            // get one first.
            let (first, others) = batch.split_at(batch.len().min(1));
            let failure = match self.emit(first).await {
                None => self.emit(others).await,
                failure => failure,
            };
            self.backlog.lock().land();
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

    /// Emits several concurrently, and removes those that are settled; returns an error of the
    /// others.
    async fn emit(&self, batch: &[Arc<Waiting>]) -> Option<Error> {
        let attempts = batch.iter().map(|waiting| self.driver.notify(&waiting.notification, ATTEMPT));
        let results = join_all(attempts).await;
        let mut gone = Vec::with_capacity(batch.len());
        let mut failure = None;
        for (waiting, result) in batch.iter().zip(results) {
            match result {
                Err(error) if !self.is_lost(waiting, &error) => failure = Some(error),
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

    fn tell(&self) {
        self.waiting.send_if_modified(|told| {
            let waiting = self.backlog.lock().len();
            std::mem::replace(told, waiting) != waiting
        });
    }

    /// Whether retrying is useless, or has gone on for long enough.
    fn is_lost(&self, waiting: &Waiting, error: &Error) -> bool {
        let hopeless = match error {
            Error::Undelivered(undelivered) => undelivered.source.as_deref().is_some_and(is_unfit),
            other => is_unfit(other),
        };
        hopeless || self.give_up.is_some_and(|age| waiting.since.elapsed() >= age)
    }
}

/// Whether the message is at fault and not the broker.
fn is_unfit(error: &Error) -> bool {
    match error {
        Error::Encode { .. } | Error::Serializer(_) | Error::Compression(_) => true,
        Error::Broker { source, .. } => {
            matches!(source, amqp_client::Error::Invalid(_) | amqp_client::Error::PublishTooLarge { .. })
        }
        _ => false,
    }
}
