//! Filters, which say what notifications an endpoint wants.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{
    error::Error,
    oslo::{error::notify::NotifyError, notify::listen::event::Event},
    pattern::Regular,
    serialize,
};

/// Regular expressions that a notification has to match, all of them, as in oslo.messaging's
/// `NotificationFilter`. Default: none.
///
/// A pattern has to match from the start of a text, but not up to its end, and has the syntax of
/// Python's `re`. An entry of context, metadata or payload has to exist, and to be a text.
///
/// ```
/// use messaging::notify::Filter;
///
/// let filter = Filter::new()
///     .publisher_id("^compute.*")?
///     .event_type(r"compute\.instance\..*")?
///     .context("roles", "private")?
///     .payload("state", "active$")?;
/// # Ok::<(), messaging::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    publisher_id: Option<Regular>,
    event_type: Option<Regular>,
    context: Vec<(String, Regular)>,
    metadata: Vec<(String, Regular)>,
    payload: Vec<(String, Regular)>,
}

impl Filter {
    /// Returns a filter that everything matches.
    #[must_use]
    pub fn new() -> Self {
        Filter::default()
    }

    /// Sets the pattern of the publisher id.
    ///
    /// # Errors
    /// [`NotifyError::Pattern`](crate::notify::NotifyError::Pattern) when the pattern is invalid.
    pub fn publisher_id(mut self, pattern: &str) -> Result<Self, Error> {
        self.publisher_id = Some(regular(pattern)?);
        Ok(self)
    }

    /// Sets the pattern of the event type.
    ///
    /// # Errors
    /// As [`publisher_id`](Self::publisher_id).
    pub fn event_type(mut self, pattern: &str) -> Result<Self, Error> {
        self.event_type = Some(regular(pattern)?);
        Ok(self)
    }

    /// Sets the pattern of an entry of the context.
    ///
    /// # Errors
    /// As [`publisher_id`](Self::publisher_id).
    pub fn context(mut self, key: impl Into<String>, pattern: &str) -> Result<Self, Error> {
        self.context.push((key.into(), regular(pattern)?));
        Ok(self)
    }

    /// Sets the pattern of `message_id` or `timestamp`; another key never matches.
    ///
    /// # Errors
    /// As [`publisher_id`](Self::publisher_id).
    pub fn metadata(mut self, key: impl Into<String>, pattern: &str) -> Result<Self, Error> {
        self.metadata.push((key.into(), regular(pattern)?));
        Ok(self)
    }

    /// Sets the pattern of an entry of the payload. A payload that is not an object does not match.
    ///
    /// # Errors
    /// As [`publisher_id`](Self::publisher_id).
    pub fn payload(mut self, key: impl Into<String>, pattern: &str) -> Result<Self, Error> {
        self.payload.push((key.into(), regular(pattern)?));
        Ok(self)
    }

    /// Whether a notification matches all patterns.
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        let received = event.received();
        let text = |pattern: &Option<Regular>, text: &Option<String>| match (pattern, text) {
            (None, _) => true,
            (Some(pattern), Some(text)) => pattern.fits(text),
            (Some(_), None) => false,
        };
        let metadata = |key: &str| match key {
            "message_id" => event.message_id().map(str::to_owned),
            "timestamp" => event.timestamp().map(str::to_owned),
            _ => None,
        };
        text(&self.publisher_id, &received.publisher_id)
            && text(&self.event_type, &received.event_type)
            && all(&self.context, |key| event.context().get(key)?.as_str().map(str::to_owned))
            && all(&self.metadata, metadata)
            && self.fits_payload(event)
    }

    fn fits_payload(&self, event: &Event) -> bool {
        if self.payload.is_empty() {
            return true;
        }
        let entries = serialize::from_json::<BTreeMap<String, Box<RawValue>>>(event.payload_json());
        let Ok(entries) = entries else { return false };
        all(&self.payload, |key| serialize::from_json(entries.get(key)?.get()).ok())
    }
}

fn regular(pattern: &str) -> Result<Regular, NotifyError> {
    let failed = |source| NotifyError::Pattern { pattern: pattern.to_owned(), source };
    Regular::new(pattern).map_err(failed)
}

fn all(patterns: &[(String, Regular)], text: impl Fn(&str) -> Option<String>) -> bool {
    patterns.iter().all(|(key, pattern)| text(key).is_some_and(|text| pattern.fits(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oslo::notify::{level::Level, wire::Received};

    fn event(json: &str) -> Event {
        Event::new(Level::Info, Received::from_json(json).unwrap(), 1, false)
    }

    #[test]
    fn every_field_has_to_be_there_to_be_a_text_and_to_fit() {
        let full = event(
            r#"{"publisher_id": "compute.host1", "event_type": "instance.end", "message_id": "m-1",
                "timestamp": "2026-11-20 12:31:19", "_context_user": "alice", "_context_roles": ["a"],
                "payload": {"state": "active", "n": 5, "nan": NaN}}"#,
        );
        let bare = event(r#"{"event_type": 5, "payload": "state"}"#);
        let fits = |filter: Result<Filter, Error>| filter.unwrap().fits(&full);
        assert!(Filter::new().fits(&full) && Filter::new().fits(&bare));
        assert!(fits(Filter::new().publisher_id("compute").unwrap().event_type("inst")));
        assert!(!fits(Filter::new().publisher_id("compute").unwrap().event_type("network")));
        assert!(fits(Filter::new().context("user", "a.*e$")));
        assert!(!fits(Filter::new().context("roles", "")) && !fits(Filter::new().context("nobody", "")));
        assert!(fits(Filter::new().metadata("timestamp", "2026").unwrap().metadata("message_id", "m")));
        assert!(!fits(Filter::new().metadata("other", "")));
        assert!(fits(Filter::new().payload("state", "^active$")));
        for key in ["n", "nan", "other"] {
            assert!(!fits(Filter::new().payload(key, "")), "{key}");
        }
        assert!(!Filter::new().event_type("").unwrap().fits(&bare));
        assert!(!Filter::new().publisher_id("").unwrap().fits(&bare));
        assert!(!Filter::new().payload("state", "").unwrap().fits(&bare));
    }
}
