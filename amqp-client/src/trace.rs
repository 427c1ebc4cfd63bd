//! What a connection tells whoever subscribes to `tracing`: a span for the connection, one for a channel in it, and an event
//! in them for what happens seldom. Nothing a message, and no secret.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Span, debug, debug_span, field, info, info_span, warn};

use crate::{error::Error, event::Event, uri::Uri};

#[derive(Debug)]
pub(crate) struct Trace {
    /// A root: the connection outlives whatever its user was doing when it was made.
    connection: Span,
    /// Before, what goes wrong is the caller's error and no news.
    was_open: AtomicBool,
}

impl Trace {
    pub(crate) fn new(uri: &Uri, name: Option<&str>) -> Self {
        let connection = info_span!(
            parent: None,
            "connection",
            peer = uri.address(),
            vhost = uri.vhost,
            name = field::Empty
        );
        if let Some(name) = name {
            connection.record("name", name);
        }
        Trace { connection, was_open: AtomicBool::new(false) }
    }

    pub(crate) fn connection(&self) -> &Span {
        &self.connection
    }

    /// Must be called with the engine's lock released: a subscriber is the user's code.
    pub(crate) fn tell(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.was_open.store(true, Ordering::Relaxed);
                info!(parent: &self.connection, "connected");
            }
            Event::Blocked(reason) => {
                warn!(parent: &self.connection, reason, "the broker takes no publishes");
            }
            Event::Unblocked => info!(parent: &self.connection, "the broker takes publishes again"),
            Event::DeliveryHeld { channel, held } => {
                self.in_channel(*channel, || warn!(?held, "a delivery is held unacknowledged"));
            }
            Event::ChannelClosed { channel, reason } => {
                self.in_channel(*channel, || warn!(%reason, "channel closed"));
            }
            Event::Closed(reason) => self.closed(reason),
        }
    }

    pub(crate) fn channel_opened(&self, channel: u16) {
        self.in_channel(channel, || debug!("channel opened"));
    }

    fn closed(&self, reason: &Error) {
        let connection = &self.connection;
        if !self.was_open.load(Ordering::Relaxed) {
            debug!(parent: connection, %reason, "not connected");
            return;
        }
        match reason {
            Error::ConnectionEnded => info!(parent: connection, "closed by this client"),
            Error::ConnectionClosed(_) => warn!(parent: connection, %reason, "closed by the broker"),
            Error::HeartbeatMissed { .. } => warn!(parent: connection, %reason, "heartbeats missed"),
            _ => warn!(parent: connection, %reason, "connection ended"),
        }
    }

    fn in_channel(&self, number: u16, tell: impl FnOnce()) {
        debug_span!(parent: &self.connection, "channel", number).in_scope(tell);
    }
}
