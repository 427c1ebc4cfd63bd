//! The status of a worker.

use std::{fmt, time::SystemTime};

use crate::{
    connection::{health::status::ConnectionStatus, history::LastError, lazy_connection::LazyConnection},
    consume::service::Progress,
};

/// The status of a worker at one moment; see [`Worker::status`](crate::Worker::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The queue, as it was declared.
    pub queue: String,
    /// The connection that it consumes on.
    pub connection: ConnectionStatus,
    /// Tells whether it consumes: its consumer has not ended, and it was not told to stop.
    pub is_consuming: bool,
    /// Since when its consumer is there; or since when it is not.
    pub since: SystemTime,
    /// Why its consumer ended the last time. A lost connection does not end it.
    pub last_error: Option<LastError>,
    /// Messages that are handled now.
    pub in_flight: usize,
    /// Messages that are kept unacknowledged, because they cannot be set aside.
    pub held: usize,
}

impl WorkerStatus {
    /// Tells whether messages that arrive now would be handled: it consumes, and is connected.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_consuming && self.connection.is_connected()
    }
}

/// Tells the status of a worker. [`Worker::monitor`](crate::Worker::monitor) makes it; cloning is
/// cheap.
#[derive(Clone)]
pub struct WorkerMonitor {
    queue: String,
    link: LazyConnection,
    progress: Progress,
}

impl WorkerMonitor {
    pub(crate) fn new(queue: String, link: LazyConnection, progress: Progress) -> Self {
        WorkerMonitor { queue, link, progress }
    }

    /// Returns what is known of the worker; see [`Worker::status`](crate::Worker::status).
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        let (history, (in_flight, held)) = (self.progress.history(), self.progress.in_flight());
        let has_consumer = history.is_connected();
        WorkerStatus {
            queue: self.queue.clone(),
            connection: ConnectionStatus::of(&self.link),
            is_consuming: has_consumer && !self.progress.is_stopping(),
            since: history.since(has_consumer),
            last_error: history.last_error(),
            in_flight,
            held,
        }
    }
}

impl fmt::Debug for WorkerMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerMonitor").field("queue", &self.queue).finish_non_exhaustive()
    }
}
