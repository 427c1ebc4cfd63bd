//! A connection that was abandoned because it did not answer. Work in progress on it continues.

use amqp_client::{Connection, WeakConnection};
use tokio::task::JoinHandle;

use crate::connection::metrics::TransportMetrics;

/// An abandoned connection. It is closed when nobody has a channel on it, or with its transport.
pub(crate) struct Left {
    connection: WeakConnection,
    /// The task that forwards its events.
    telling: Option<JoinHandle<()>>,
}

impl Left {
    pub(crate) fn new(connection: &Connection, telling: Option<JoinHandle<()>>) -> Self {
        Left { connection: connection.downgrade(), telling }
    }

    /// Whether it has ended and its events were forwarded.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_closed() && self.telling.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes the connection to be closed, unless it has ended, and the task that forwards its
    /// events.
    pub(crate) fn end(&mut self) -> (Option<Connection>, Option<JoinHandle<()>>) {
        (self.connection.upgrade(), self.telling.take())
    }

    /// Adds what it has done and holds to the metrics of others.
    pub(crate) fn count(&self, others: TransportMetrics) -> TransportMetrics {
        let metrics = self.connection.metrics();
        if self.connection.is_closed() { others.after(&metrics) } else { others.with(&metrics) }
    }
}
