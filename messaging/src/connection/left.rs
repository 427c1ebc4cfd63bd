//! A connection that was left because it did not answer: what is under way on it goes on.

use amqp_client::{Connection, WeakConnection};
use tokio::task::JoinHandle;

use crate::connection::metrics::TransportMetrics;

/// Closed when nobody has a channel on it any more, or with its transport.
pub(crate) struct Left {
    connection: WeakConnection,
    /// Tells its events.
    telling: Option<JoinHandle<()>>,
}

impl Left {
    pub(crate) fn new(connection: &Connection, telling: Option<JoinHandle<()>>) -> Self {
        Left { connection: connection.downgrade(), telling }
    }

    /// Tells whether it has ended, and that was told.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_closed() && self.telling.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// It is to be closed: the connection, unless it has been, and what tells its events.
    pub(crate) fn end(&mut self) -> (Option<Connection>, Option<JoinHandle<()>>) {
        (self.connection.upgrade(), self.telling.take())
    }

    /// What others have done, with what it has done and holds.
    pub(crate) fn count(&self, others: TransportMetrics) -> TransportMetrics {
        let metrics = self.connection.metrics();
        if self.connection.is_closed() { others.after(&metrics) } else { others.with(&metrics) }
    }
}
