//! Notifications on disk, until they are emitted.

use std::{path::Path, sync::Arc, sync::mpsc, thread};

use amqp_client::Report;
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{oneshot, watch};

use crate::oslo::error::notify::NotifyError;
use crate::oslo::notify::{
    notification::Notification,
    wire::{Received, Wire},
};
use crate::{error::Error, serialize};

/// An order to the writing thread.
enum Order {
    Keep { number: u64, record: Bytes, done: oneshot::Sender<Result<(), Arc<fjall::Error>>> },
    Drop { number: u64 },
}

/// A folder that nobody else uses meanwhile, and its writing thread. Orders that gather while it
/// waits for the disk are written together.
///
/// # On drop
/// All orders are still executed; then the thread ends.
pub(super) struct Spool {
    orders: mpsc::Sender<Order>,
    closed: watch::Receiver<bool>,
}

/// The records of a folder, with their numbers and in order.
pub(super) type Kept = Vec<(u64, Notification)>;

impl Spool {
    /// Opens a folder, or creates it. This blocks.
    pub(super) fn open(folder: &Path) -> Result<(Self, Kept), NotifyError> {
        let failed = |error: fjall::Error| NotifyError::Files(Box::new(error));
        let database = Database::builder(folder).open().map_err(failed)?;
        let keyspace = database.keyspace("notifications", KeyspaceCreateOptions::default).map_err(failed)?;
        let mut kept = Vec::new();
        for guard in keyspace.iter() {
            let (key, record) = guard.into_inner().map_err(failed)?;
            match <[u8; 8]>::try_from(&*key).ok().map(u64::from_be_bytes).zip(read(&record)) {
                Some(entry) => kept.push(entry),
                None => tracing::error!(
                    "a notification on disk cannot be decoded; it stays there and is not emitted"
                ),
            }
        }
        let (orders, ordered) = mpsc::channel();
        let (closing, closed) = watch::channel(false);
        let work = move || {
            write(&database, &keyspace, &ordered);
            // From now on others can open the folder.
            drop((keyspace, database));
            let _ = closing.send(true);
        };
        let spawned = thread::Builder::new().name("notifications".to_owned()).spawn(work);
        spawned.map_err(|error| NotifyError::Files(Box::new(error)))?;
        Ok((Spool { orders, closed }, kept))
    }

    /// The record of a notification.
    pub(super) fn record(notification: &Notification) -> Result<Bytes, Error> {
        serialize::to_json(&Wire(notification))
            .map_err(|source| Error::Encode { what: "a notification", source })
    }

    /// Orders a notification to be stored; the future is ready when it is on disk.
    pub(super) fn keep(
        &self,
        number: u64,
        record: Bytes,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (done, kept) = oneshot::channel();
        // An error means that the thread has died.
        let _ = self.orders.send(Order::Keep { number, record, done });
        async {
            match kept.await {
                Ok(result) => Ok(result.map_err(|error| NotifyError::Files(Box::new(error)))?),
                Err(_) => Err(Error::Closed),
            }
        }
    }

    /// Orders the removal of a notification that was emitted or given up.
    pub(super) fn forget(&self, number: u64) {
        let _ = self.orders.send(Order::Drop { number });
    }

    /// Waits until everything is written and the folder is free.
    pub(super) async fn close(self) {
        let Spool { orders, mut closed } = self;
        drop(orders);
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

/// Executes orders until there can be no more.
fn write(database: &Database, keyspace: &Keyspace, orders: &mpsc::Receiver<Order>) {
    /// The most orders that are written together.
    const MOST: usize = 1000;
    while let Ok(first) = orders.recv() {
        let mut batch = database.batch();
        let mut waiting = Vec::new();
        for order in [first].into_iter().chain(orders.try_iter().take(MOST)) {
            match order {
                Order::Keep { number, record, done } => {
                    batch.insert(keyspace, number.to_be_bytes(), &record[..]);
                    waiting.push(done);
                }
                Order::Drop { number } => batch.remove(keyspace, number.to_be_bytes()),
            }
        }
        // A removal may be lost in a crash: the notification is then emitted again.
        let mode = if waiting.is_empty() { PersistMode::Buffer } else { PersistMode::SyncData };
        let written = batch.durability(Some(mode)).commit().map_err(Arc::new);
        if let Err(error) = &written {
            tracing::error!(error = %Report(error), "cannot write notifications to disk; new ones are refused, and emitted ones may be emitted again");
        }
        for done in waiting {
            let _ = done.send(written.clone());
        }
    }
}

/// Reads a record, which is the message in its form without an envelope.
fn read(record: &[u8]) -> Option<Notification> {
    let received = Received::from_json(str::from_utf8(record).ok()?).ok()?;
    Some(Notification {
        level: received.level?,
        publisher_id: received.publisher_id?.into(),
        event_type: received.event_type?,
        message_id: received.message_id?,
        timestamp: received.timestamp?,
        payload: received.payload,
        context: received.context,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oslo::{notify::level::Level, wire::context::Context};

    #[tokio::test]
    async fn what_is_kept_is_there_again_in_its_order_and_what_is_forgotten_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new().with("request_id", "r");
        let (spool, kept) = Spool::open(folder.path()).unwrap();
        assert!(kept.is_empty());
        for number in [3_u64, 300, 20, 70_000] {
            let payload =
                json!({"number": number, "tagged": {"__type__": "date", "__value__": "2026-01-01"}});
            let notification =
                Notification::new(Level::Sample, &"p".into(), "e", &payload, context.clone()).unwrap();
            spool.keep(number, Spool::record(&notification).unwrap()).await.unwrap();
        }
        spool.forget(20);
        spool.close().await;
        let (spool, kept) = Spool::open(folder.path()).unwrap();
        assert_eq!(kept.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 300, 70_000]);
        let (_, notification) = &kept[1];
        assert_eq!((notification.level, notification.context()), (Level::Sample, &context));
        assert_eq!(
            notification.payload_json(),
            r#"{"number":300,"tagged":{"__type__":"date","__value__":"2026-01-01"}}"#
        );
        assert!(matches!(Spool::open(folder.path()), Err(NotifyError::Files(_))));
        spool.close().await;
    }
}
