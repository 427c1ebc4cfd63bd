//! The history of a connection, as far as its status tells it.

use std::time::SystemTime;

use amqp_client::Event;

/// The last failure of a connection or consumer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LastError {
    /// When it happened.
    pub at: SystemTime,
    /// The failure as text, with its causes. It contains no secret.
    pub error: String,
}

impl LastError {
    pub(crate) fn now(error: &dyn std::error::Error) -> Self {
        LastError { at: SystemTime::now(), error: amqp_client::Report(error).to_string() }
    }
}

/// When something was last connected, or lost, and the last failure.
#[derive(Clone, Debug)]
pub(crate) struct History {
    is_connected: bool,
    since: SystemTime,
    last_error: Option<LastError>,
}

impl Default for History {
    fn default() -> Self {
        History { is_connected: false, since: SystemTime::now(), last_error: None }
    }
}

impl History {
    pub(crate) fn connected(&mut self) {
        self.change(true);
    }

    pub(crate) fn lost(&mut self, error: &dyn std::error::Error) {
        self.change(false);
        self.failed(error);
    }

    pub(crate) fn failed(&mut self, error: &dyn std::error::Error) {
        self.last_error = Some(LastError::now(error));
    }

    /// Notes an event of a connection.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Recovered(_) => self.change(true),
            Event::Disconnected(error) | Event::Closed(error) => self.lost(error),
            Event::NotConnected { reason, .. } => self.failed(reason),
            _ => {}
        }
    }

    fn change(&mut self, is_connected: bool) {
        if self.is_connected != is_connected {
            (self.is_connected, self.since) = (is_connected, SystemTime::now());
        }
    }

    /// Returns since when it is connected, or not: what is known to be so by now may not have been
    /// noted yet.
    pub(crate) fn since(&self, is_connected: bool) -> SystemTime {
        if self.is_connected == is_connected { self.since } else { SystemTime::now() }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.last_error.clone()
    }
}
