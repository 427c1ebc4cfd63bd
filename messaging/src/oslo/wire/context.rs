//! The context of a request or a notification: who asks, on whose behalf, under which request id.

use serde::Serialize;
use serde_json::{Map, Value};

/// The prefix of an entry's name on the wire.
pub(crate) const PREFIX: &str = "_context_";

/// Named values that accompany a request or a notification. Default: none.
///
/// ```
/// use messaging::Context;
///
/// let context = Context::new().with("request_id", "req-1").with("is_admin", false);
/// assert_eq!(context.get("request_id").and_then(|id| id.as_str()), Some("req-1"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context(Map<String, Value>);

impl Context {
    /// Returns a context without entries.
    #[must_use]
    pub fn new() -> Self {
        Context::default()
    }

    /// Adds or replaces an entry.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Inserts `value` under `name`.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Returns the value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Iterates over all entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Appends the entries under their names on the wire to a message.
    pub(crate) fn serialize_into<M: serde::ser::SerializeMap>(
        &self,
        message: &mut M,
    ) -> Result<(), M::Error> {
        self.0.iter().try_for_each(|(name, value)| message.serialize_entry(&Prefixed(name), value))
    }
}

impl From<Map<String, Value>> for Context {
    fn from(entries: Map<String, Value>) -> Self {
        Context(entries)
    }
}

struct Prefixed<'a>(&'a str);

impl Serialize for Prefixed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{PREFIX}{}", self.0))
    }
}
