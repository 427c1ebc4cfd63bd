//! Notifications in their wire format, with or without the envelope.

use std::collections::BTreeMap;

use serde::{Serialize, ser::SerializeMap};
use serde_json::{Map, Value, value::RawValue};

use super::{level::Level, notification::Notification};
use crate::{
    oslo::wire::{
        context::{Context, PREFIX},
        id::Id,
    },
    serialize,
};

/// A notification to be sent, with an id of its own for each copy: a listener to two topics must
/// not take one copy for the other.
pub(crate) struct Wire<'a>(pub(crate) &'a Notification);

impl Serialize for Wire<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let notification = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("message_id", &notification.message_id)?;
        map.serialize_entry("publisher_id", &*notification.publisher_id)?;
        map.serialize_entry("event_type", &notification.event_type)?;
        map.serialize_entry("priority", notification.level.priority())?;
        map.serialize_entry("payload", &notification.payload)?;
        map.serialize_entry("timestamp", &notification.timestamp)?;
        map.serialize_entry("_unique_id", &format_args!("{}", Id::new()))?;
        notification.context.serialize_into(&mut map)?;
        map.end()
    }
}

/// A received notification. As for Python's listeners, only the level is required.
#[derive(Debug)]
pub(crate) struct Received {
    /// The level; `None` when it is missing or unknown.
    pub(crate) level: Option<Level>,
    /// The event type; like the other fields, `None` when it is missing or not a text.
    pub(crate) event_type: Option<String>,
    pub(crate) publisher_id: Option<String>,
    pub(crate) payload: Box<RawValue>,
    pub(crate) message_id: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) unique_id: Option<String>,
    pub(crate) context: Context,
}

impl Received {
    /// Parses the JSON text in the envelope.
    pub(crate) fn from_json(text: &str) -> serde_json::Result<Self> {
        let mut fields: BTreeMap<String, Box<RawValue>> = serialize::from_json(text)?;
        let mut text_of = |name: &str| text_under(&mut fields, name);
        let level = text_of("priority").and_then(|priority| Level::from_priority(&priority));
        let [event_type, publisher_id, message_id, timestamp, unique_id] =
            ["event_type", "publisher_id", "message_id", "timestamp", "_unique_id"].map(&mut text_of);
        let payload = match fields.remove("payload") {
            Some(payload) => payload,
            None => serde_json::value::to_raw_value(&())?,
        };
        Ok(Received {
            level,
            event_type,
            publisher_id,
            payload,
            message_id,
            timestamp,
            unique_id,
            context: context(&fields)?,
        })
    }
}

/// Returns the text under a name; `None` when it is missing or something else.
fn text_under(fields: &mut BTreeMap<String, Box<RawValue>>, name: &str) -> Option<String> {
    fields.remove(name).and_then(|raw| serialize::from_json(raw.get()).ok())
}

fn context(fields: &BTreeMap<String, Box<RawValue>>) -> serde_json::Result<Context> {
    let mut context = Map::new();
    for (name, raw) in fields {
        if let Some(name) = name.strip_prefix(PREFIX) {
            context.insert(name.to_owned(), serialize::from_json::<Value>(raw.get())?);
        }
    }
    Ok(context.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_notification_has_the_keys_of_the_captured_one() {
        let notification = Notification::new(
            Level::Audit,
            &"compute.host1".into(),
            "compute.instance.create.start",
            &json!({"instance_id": 12}),
            Context::new().with("user", "alice"),
        )
        .unwrap();
        let wire = || serde_json::to_value(Wire(&notification)).unwrap();
        let (written, other) = (wire(), wire());
        assert!(written["message_id"] == other["message_id"] && written["_unique_id"] != other["_unique_id"]);
        assert_eq!(written["message_id"].as_str().unwrap().len(), 36);
        assert_eq!(written["_unique_id"].as_str().unwrap().len(), 32);
        assert_eq!(written["priority"], "AUDIT");
        assert_eq!(written["_context_user"], "alice");
        assert_eq!(written.as_object().unwrap().len(), 8);
    }

    #[test]
    fn captured_notifications_of_both_versions_are_read() {
        for text in [
            r#"{"message_id": "d7544db6-60b0-47e8-b1e1-77ae584bf07b", "publisher_id": "compute.host1", "event_type": "compute.instance.create.start", "priority": "AUDIT", "payload": {"instance_id": 12, "name": "\u00e9"}, "timestamp": "2026-11-20 12:31:19.573817", "_unique_id": "08e3a50355ec4170a777c65100ea1e13"}"#,
            r#"{"message_id": "085a4787-aeb4-4402-a192-676b4aafcd08", "publisher_id": "compute.host1", "event_type": "compute.instance.create.start", "priority": "audit", "payload": {"dt": {"__type__": "datetime", "__value__": "2026-01-02T03:04:05.000678"}}, "timestamp": "2026-11-20 12:30:45.041417", "_unique_id": "e863c51cfe804b6088679ed1db2d05b2"}"#,
        ] {
            let received = Received::from_json(text).unwrap();
            assert_eq!(received.level, Some(Level::Audit));
            assert_eq!(received.event_type.as_deref(), Some("compute.instance.create.start"));
            assert_eq!(received.publisher_id.as_deref(), Some("compute.host1"));
            assert!(
                received.message_id.is_some() && received.timestamp.is_some() && received.unique_id.is_some()
            );
            assert!(received.payload.get().starts_with('{'));
        }
    }

    #[test]
    fn a_notification_of_which_much_is_missing_is_read() {
        for (text, level) in [
            (r#"{"priority": "error"}"#, Some(Level::Error)),
            (r#"{"priority": "loud", "payload": [NaN]}"#, None),
            (r#"{"priority": null, "event_type": 5}"#, None),
            ("{}", None),
        ] {
            let received = Received::from_json(text).unwrap();
            assert_eq!((received.level, received.event_type), (level, None), "{text}");
        }
    }
}
