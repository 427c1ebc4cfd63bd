//! A notification that was received.

use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::oslo::notify::{level::Level, wire::Received};
use crate::{error::Error, oslo::wire::context::Context, serialize};

/// A received notification. Cloning is cheap.
#[derive(Clone)]
pub struct Event {
    level: Level,
    received: Arc<Received>,
    attempt: u32,
    redelivered: bool,
}

impl Event {
    pub(super) fn new(level: Level, received: Received, attempt: u32, redelivered: bool) -> Self {
        Event { level, received: Arc::new(received), attempt, redelivered }
    }

    /// Returns the level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns what happened, by convention `subject.action.phase`; empty when the sender did not
    /// say.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.received.event_type.as_deref().unwrap_or_default()
    }

    /// Returns who emitted it, by convention `service.host`; empty when the sender did not say.
    #[must_use]
    pub fn publisher_id(&self) -> &str {
        self.received.publisher_id.as_deref().unwrap_or_default()
    }

    /// Returns the payload. Tagged values ([`tagged`](crate::tagged)) are decoded. They occur in
    /// what Python's driver `messaging` sends; `messagingv2` sends them as texts.
    ///
    /// # Errors
    /// [`Error::Decode`] when the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let payload = serialize::from_json(self.received.payload.get());
        payload.map_err(|source| Error::Decode { what: "the payload of a notification", source })
    }

    /// Returns the payload's JSON text, as the sender wrote it.
    #[must_use]
    pub fn payload_json(&self) -> &str {
        self.received.payload.get()
    }

    /// Returns the context that was sent with it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.received.context
    }

    /// Returns its own id.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.received.message_id.as_deref()
    }

    /// Returns when it was emitted, as the sender wrote it: `2026-11-20 12:31:19.573817`, in UTC.
    #[must_use]
    pub fn timestamp(&self) -> Option<&str> {
        self.received.timestamp.as_deref()
    }

    /// Returns which attempt this is, from 1; see [`RetryLater`](crate::RetryLater).
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the broker delivered it before, to any consumer.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    pub(super) fn received(&self) -> &Received {
        &self.received
    }
}

/// Omits payload and context, which may hold secrets.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("level", &self.level)
            .field("publisher_id", &self.publisher_id())
            .field("event_type", &self.event_type())
            .field("message_id", &self.message_id())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
