//! What a connection reports through `tracing`: a span for the connection, a span for each channel
//! in it, and events for rare occurrences. There are no events for single messages, and no secrets.

use amqp_codec::Report;
use tracing::{Span, debug, debug_span, field, info, info_span, warn};

use crate::{
    error::Error,
    event::{Event, Skipped},
    sync::Mutex,
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
                info!(parent: connection, "the connection is open");
            }
            Event::Blocked(reason) => {
                warn!(parent: connection, reason, "the broker accepts no publishes");
            }
            Event::Unblocked => info!(parent: connection, "the broker accepts publishes again"),
            Event::DeliveryHeld { channel, held } => {
                self.in_channel(*channel, || {
                    warn!(?held, "a delivery stays unsettled for long; the broker may close the channel");
                });
            }
            // There are no log lines for single messages.
            Event::Returned { .. } => {}
            Event::ChannelClosed { channel, reason } => {
                self.in_channel(
                    *channel,
                    || warn!(reason = %Report(reason), "the channel is closed; the connection goes on"),
                );
            }
            Event::Disconnected(reason) => {
                warn!(parent: connection, reason = %Report(reason), "the connection is lost; recovery begins");
            }
            Event::Reconnecting { attempt, delay } => {
                info!(parent: connection, attempt, ?delay, "the next attempt to connect follows after the delay");
            }
            Event::NotConnected { attempt, reason } => {
                info!(parent: connection, attempt, reason = %Report(reason), "the attempt to connect again failed");
            }
            Event::Recovered(report) => {
                let (renamed, skipped) = (report.renamed.len(), report.skipped.len());
                let held = report.held.len();
                info!(parent: connection, attempts = report.attempts, renamed, skipped, held, "the connection is recovered");
            }
            Event::Held { what, attempt, delay, error } => {
                info!(parent: connection, what, attempt, ?delay, error = %Report(error), "the broker still reserves this for the lost connection; another attempt follows after the delay");
            }
            Event::Released { what } => {
                info!(parent: connection, what, "the broker reserves this no longer; it is restored");
            }
            Event::NotRestored(Skipped { what, error }) => {
                warn!(parent: connection, what, error = %Report(error), "this cannot be restored");
            }
            Event::ChannelReopened { channel, .. } => {
                self.in_channel(*channel, || info!("the channel is open again"));
            }
            Event::Closed(reason) => self.closed(reason),
        }
    }

    /// Reports that a host did not accept the connection, at the level debug, since the caller gets
    /// the error.
    pub(crate) fn not_connected(&self, reason: &Error) {
        debug!(parent: &self.connection(), reason = %Report(reason), "the host did not accept the connection");
    }

    pub(crate) fn channel_opened(&self, channel: u16) {
        self.in_channel(channel, || debug!("the channel is open"));
    }

    fn closed(&self, reason: &Error) {
        let connection = &self.connection();
        let words = Report(reason);
        match reason {
            Error::ConnectionEnded => info!(parent: connection, "this client closed the connection"),
            Error::ConnectionClosed(_) => {
                warn!(parent: connection, reason = %words, "the broker closed the connection");
            }
            Error::HeartbeatMissed { .. } => {
                warn!(parent: connection, reason = %words, "the connection ended because the broker was silent");
            }
            _ => warn!(parent: connection, reason = %words, "the connection ended"),
        }
    }

    fn in_channel(&self, number: u16, tell: impl FnOnce()) {
        debug_span!(parent: self.connection(), "channel", number).in_scope(tell);
    }
}
