//! Events of workers and their tasks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::Local;
use serde_json::{Map, Value};

/// An event that was received.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Its type, for example `worker-heartbeat` or `task-received`.
    pub kind: String,
    /// The node that emitted it.
    pub hostname: Option<String>,
    /// When it happened, in seconds since 1970-01-01 UTC, by the wall clock of its node.
    pub timestamp: Option<f64>,
    /// All fields, those above included.
    pub fields: Map<String, Value>,
}

impl Event {
    /// Reads an event; `None` if it is not an object with a type.
    pub(super) fn read(event: Value) -> Option<Self> {
        let Value::Object(fields) = event else { return None };
        let kind = fields.get("type")?.as_str()?.to_owned();
        let hostname = fields.get("hostname").and_then(Value::as_str).map(str::to_owned);
        let timestamp = fields.get("timestamp").and_then(Value::as_f64);
        Some(Event { kind, hostname, timestamp, fields })
    }
}

/// An event of a task, which a [`Node`](crate::celery::Node) emits.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEvent {
    pub(super) kind: &'static str,
    pub(super) fields: Map<String, Value>,
}

impl TaskEvent {
    /// Returns the event of a task that was sent to a queue.
    #[must_use]
    pub fn sent(id: &str, name: &str) -> Self {
        Self::new("task-sent", id)
            .field("name", name)
            .field("args", "()")
            .field("kwargs", "{}")
            .field("retries", 0)
    }

    /// Returns the event of a task that a worker received, without arguments. Set `args` and
    /// `kwargs`, which are texts that show them, by [`field`](Self::field).
    #[must_use]
    pub fn received(id: &str, name: &str) -> Self {
        let event =
            Self::new("task-received", id).field("name", name).field("args", "()").field("kwargs", "{}");
        event.field("retries", 0).field("eta", Value::Null)
    }

    /// Returns the event of a task that begins to run.
    #[must_use]
    pub fn started(id: &str) -> Self {
        Self::new("task-started", id)
    }

    /// Returns the event of a task that succeeded: a text that shows its result, and how long it
    /// ran.
    #[must_use]
    pub fn succeeded(id: &str, result: &str, runtime: Duration) -> Self {
        Self::new("task-succeeded", id).field("result", result).field("runtime", runtime.as_secs_f64())
    }

    /// Returns the event of a task that failed: a text that shows the exception, and the traceback.
    #[must_use]
    pub fn failed(id: &str, exception: &str, traceback: &str) -> Self {
        Self::new("task-failed", id).field("exception", exception).field("traceback", traceback)
    }

    /// Returns the event of a task that failed and runs again later.
    #[must_use]
    pub fn retried(id: &str, exception: &str, traceback: &str) -> Self {
        Self::new("task-retried", id).field("exception", exception).field("traceback", traceback)
    }

    /// Returns the event of a task whose message was rejected.
    #[must_use]
    pub fn rejected(id: &str, requeued: bool) -> Self {
        Self::new("task-rejected", id).field("requeue", requeued)
    }

    /// Returns the event of a task that was revoked: whether it was ended while it ran, and whether
    /// it had expired.
    #[must_use]
    pub fn revoked(id: &str, terminated: bool, expired: bool) -> Self {
        let event = Self::new("task-revoked", id).field("terminated", terminated);
        event.field("signum", Value::Null).field("expired", expired)
    }

    /// Sets another field, or replaces one.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn new(kind: &'static str, id: &str) -> Self {
        TaskEvent { kind, fields: Map::new() }.field("uuid", id)
    }
}

/// Returns the fields that every event has, to which those of its kind are added.
pub(super) fn common(kind: &str, hostname: &str, clock: u64) -> Map<String, Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fields = [
        ("hostname", hostname.into()),
        ("utcoffset", utc_offset().into()),
        ("pid", std::process::id().into()),
        ("clock", clock.into()),
        ("timestamp", now.as_secs_f64().into()),
        ("type", kind.into()),
    ];
    fields.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value)).collect()
}

/// The offset of local time in whole hours west of UTC: receivers in other time zones correct the
/// timestamp by it.
fn utc_offset() -> i32 {
    (-Local::now().offset().local_minus_utc()).div_euclid(3600)
}

/// The routing key of events of a type.
pub(super) fn routing_key(kind: &str) -> String {
    kind.replace('-', ".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_read_with_all_its_fields() {
        let captured = json!({"hostname": "w1@vm", "clock": 2, "freq": 2.0, "timestamp": 1795177651.7, "type": "worker-heartbeat"});
        let event = Event::read(captured.clone()).unwrap();
        assert_eq!((event.kind.as_str(), event.hostname.as_deref()), ("worker-heartbeat", Some("w1@vm")));
        assert_eq!(event.timestamp, Some(1795177651.7));
        assert_eq!(Value::Object(event.fields), captured);
        for malformed in [json!([]), json!({}), json!({"type": 1})] {
            assert_eq!(Event::read(malformed), None);
        }
    }

    #[test]
    fn an_event_has_the_fields_of_celery() {
        let fields = common("task-started", "w1@vm", 7);
        assert_eq!(
            (&fields["hostname"], &fields["clock"], &fields["type"]),
            (&json!("w1@vm"), &json!(7), &json!("task-started"))
        );
        assert!(fields["timestamp"].as_f64().unwrap() > 1.7e9 && fields["utcoffset"].is_i64());
        assert_eq!(routing_key("task-started"), "task.started");
        let received = TaskEvent::received("1", "t.add").field("args", "(1, 2)");
        assert_eq!(
            Value::Object(received.fields),
            json!({"uuid": "1", "name": "t.add", "args": "(1, 2)", "kwargs": "{}", "retries": 0, "eta": null})
        );
    }
}
