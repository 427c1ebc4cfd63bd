//! What a connection reports through `tracing`: a span for the connection, a span for each channel
//! in it, and events for rare occurrences. There are no events for single messages, and no secrets.

use amqp_codec::Report;
use parking_lot::Mutex;
use tracing::{Span, debug, debug_span, field, info, info_span, warn};

use crate::{
    error::Error,
    event::{Event, Skipped},
};

#[derive(Debug)]
pub(crate) struct Trace {
    /// A root span, because the connection outlives the span in which it was made. Each host that
    /// is tried gets a new one.
    connection: Mutex<Span>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Trace { connection: Mutex::new(Span::none()) }
    }

    /// Makes the span for a host that is tried.
    pub(crate) fn begin(&self, peer: &str, vhost: &str, name: Option<&str>) {
        let connection = info_span!(
            parent: None,
            "connection",
            peer,
            vhost,
            name = field::Empty
        );
        if let Some(name) = name {
            connection.record("name", name);
        }
        *self.connection.lock() = connection;
    }

    pub(crate) fn connection(&self) -> Span {
        self.connection.lock().clone()
    }

    /// Reports an event. It must be called with the engine's lock released, because a subscriber is
    /// the user's code.
    pub(crate) fn tell(&self, event: &Event) {
        let connection = &self.connection();
        match event {
            Event::Connected => {
                info!(parent: connection, "connected");
            }
            Event::Blocked(reason) => {
                warn!(parent: connection, reason, "publishes are blocked by the broker");
            }
            Event::Unblocked => info!(parent: connection, "the broker takes publishes again"),
            Event::DeliveryHeld { channel, held } => {
                self.in_channel(*channel, || warn!(?held, "a delivery is held unacknowledged"));
            }
            Event::ChannelClosed { channel, reason } => {
                self.in_channel(*channel, || warn!(reason = %Report(reason), "channel closed"));
            }
            Event::Disconnected(reason) => {
                warn!(parent: connection, reason = %Report(reason), "connection lost");
            }
            Event::Reconnecting { attempt, delay } => {
                info!(parent: connection, attempt, ?delay, "connecting again");
            }
            Event::NotConnected { attempt, reason } => {
                info!(parent: connection, attempt, reason = %Report(reason), "not connected again");
            }
            Event::Recovered(report) => {
                let (renamed, skipped) = (report.renamed.len(), report.skipped.len());
                let held = report.held.len();
                info!(parent: connection, attempts = report.attempts, renamed, skipped, held, "connection recovered");
            }
            Event::Held { what, attempt, delay, error } => {
                info!(parent: connection, what, attempt, ?delay, error = %Report(error), "kept for the lost connection; trying again");
            }
            Event::Released { what } => info!(parent: connection, what, "had back"),
            Event::NotRestored(Skipped { what, error }) => {
                warn!(parent: connection, what, error = %Report(error), "not restored");
            }
            Event::ChannelReopened { channel, .. } => {
                self.in_channel(*channel, || info!("channel opened again"));
            }
            Event::Closed(reason) => self.closed(reason),
        }
    }

    /// Reports that a host did not accept the connection, at the level debug, since the caller gets
    /// the error.
    pub(crate) fn not_connected(&self, reason: &Error) {
        debug!(parent: &self.connection(), reason = %Report(reason), "not connected");
    }

    pub(crate) fn channel_opened(&self, channel: u16) {
        self.in_channel(channel, || debug!("channel opened"));
    }

    fn closed(&self, reason: &Error) {
        let connection = &self.connection();
        let words = Report(reason);
        match reason {
            Error::ConnectionEnded => info!(parent: connection, "closed by this client"),
            Error::ConnectionClosed(_) => warn!(parent: connection, reason = %words, "closed by the broker"),
            Error::HeartbeatMissed { .. } => warn!(parent: connection, reason = %words, "heartbeats missed"),
            _ => warn!(parent: connection, reason = %words, "connection ended"),
        }
    }

    fn in_channel(&self, number: u16, tell: impl FnOnce()) {
        debug_span!(parent: self.connection(), "channel", number).in_scope(tell);
    }
}
