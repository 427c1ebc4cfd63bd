//! A notification to be emitted.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use super::{level::Level, timestamp::Timestamp};
use crate::{
    error::Error,
    oslo::wire::{context::Context, id::Id},
    serialize,
};

/// A notification as drivers get it. It does not change any more.
#[derive(Clone)]
pub struct Notification {
    pub(crate) level: Level,
    pub(crate) publisher_id: Arc<str>,
    pub(crate) event_type: String,
    pub(crate) message_id: String,
    pub(crate) timestamp: String,
    pub(crate) payload: Box<RawValue>,
    pub(crate) context: Context,
}

impl Notification {
    /// Returns a new notification with the present time.
    pub(crate) fn new<P: Serialize + ?Sized>(
        level: Level,
        publisher_id: &Arc<str>,
        event_type: &str,
        payload: &P,
        context: Context,
    ) -> Result<Self, Error> {
        let payload = to_raw_value(payload)
            .map_err(|source| Error::Encode { what: "the payload of a notification", source })?;
        Ok(Notification {
            level,
            publisher_id: publisher_id.clone(),
            event_type: event_type.to_owned(),
            message_id: Id::new().hyphenated(),
            timestamp: Timestamp(SystemTime::now()).to_string(),
            payload,
            context,
        })
    }

    /// Returns the level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns who emits it, by convention `service.host`.
    #[must_use]
    pub fn publisher_id(&self) -> &str {
        &self.publisher_id
    }

    /// Returns what happened, by convention `subject.action.phase`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Returns its own id, the same for every topic it goes to.
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// Returns when it was made: `2026-11-20 12:31:19.573817`, in UTC.
    #[must_use]
    pub fn timestamp(&self) -> &str {
        &self.timestamp
    }

    /// Returns the payload.
    ///
    /// # Errors
    /// [`Error::Decode`] when the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let payload = serialize::from_json(self.payload.get());
        payload.map_err(|source| Error::Decode { what: "the payload of a notification", source })
    }

    /// Returns the payload's JSON text.
    #[must_use]
    pub fn payload_json(&self) -> &str {
        self.payload.get()
    }

    /// Returns the context that is sent with it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }
}

/// Omits payload and context, which may hold secrets.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("level", &self.level)
            .field("publisher_id", &self.publisher_id)
            .field("event_type", &self.event_type)
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}
