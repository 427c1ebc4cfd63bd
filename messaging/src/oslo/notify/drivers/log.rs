//! The driver that logs notifications.

use std::future::ready;

use serde_json::{Value, json};

use super::mask::mask;
use crate::{
    oslo::notify::{
        driver::{Driver, Emitting},
        level::Level,
        notification::Notification,
    },
    retry::RetryPolicy,
    serialize,
};

/// Logs notifications with [`tracing`], as events of the target `messaging::notification` with the
/// fields `level` and `event_type`. The message is the notification in JSON, in which secrets are
/// replaced by `***`: values under names like `password` and `auth_token`, and parts of a text that
/// look like a secret.
///
/// The levels audit and sample are logged as info. Python's logs have no such levels and leave them
/// out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Driver for Log {
    fn name(&self) -> &str {
        "log"
    }

    fn notify<'a>(&'a self, notification: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        let (level, event_type) = (notification.level.name(), notification.event_type.as_str());
        macro_rules! event {
            ($level:ident) => {
                // The text is made only when somebody listens.
                tracing::event!(target: "messaging::notification", tracing::Level::$level, level, event_type, "{}", masked(notification))
            };
        }
        match notification.level {
            Level::Debug => event!(DEBUG),
            Level::Audit | Level::Info | Level::Sample => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error | Level::Critical => event!(ERROR),
        }
        Box::pin(ready(Ok(())))
    }
}

fn masked(notification: &Notification) -> Value {
    let payload: Value = serialize::from_json(notification.payload.get()).unwrap_or_default();
    let mut written = json!({
        "message_id": notification.message_id,
        "publisher_id": &*notification.publisher_id,
        "event_type": notification.event_type,
        "priority": notification.level.priority(),
        "payload": payload,
        "timestamp": notification.timestamp,
    });
    mask(&mut written);
    written
}
