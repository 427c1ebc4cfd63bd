//! What workers tell of their tasks and queues.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A task that a worker has: active, reserved or scheduled. Fields that this type does not name are
/// in [`more`](Self::more).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The task's id.
    pub id: String,
    /// The name of the task.
    pub name: String,
    /// The positional arguments; a text that shows them when they are to be safe.
    pub args: Value,
    /// The named arguments; a text that shows them when they are to be safe.
    pub kwargs: Value,
    /// The type of the task, which is its name again.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The worker that has it.
    pub hostname: Option<String>,
    /// When it was started, in seconds since 1970-01-01 UTC or since the worker's start; `None`
    /// when it was not.
    pub time_start: Option<f64>,
    /// Whether its message was acknowledged.
    pub acknowledged: bool,
    /// Where its message came from: `exchange`, `routing_key`, `priority`, `redelivered`.
    pub delivery_info: Map<String, Value>,
    /// The process that runs it.
    pub worker_pid: Option<i64>,
    /// Other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl TaskInfo {
    /// Returns a task of this id and name, without arguments.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        let (args, kwargs) = (Value::Array(Vec::new()), Value::Object(Map::new()));
        TaskInfo { id: id.into(), name: name.into(), args, kwargs, ..TaskInfo::default() }
    }
}

/// A task that a worker runs at a later time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ScheduledTask {
    /// When it is to run, as ISO 8601.
    pub eta: Option<String>,
    /// Its priority on the worker's schedule.
    pub priority: i64,
    /// The task.
    pub request: TaskInfo,
}

/// A queue that a worker consumes from. Fields that this type does not name are in
/// [`more`](Self::more).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct QueueInfo {
    /// The queue's name.
    pub name: String,
    /// The exchange it is bound to: `name`, `type`, `durable` and so on.
    pub exchange: Map<String, Value>,
    /// The routing key it is bound with.
    pub routing_key: Option<String>,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// Whether it is deleted with its last consumer.
    pub auto_delete: bool,
    /// Whether messages need no acknowledgement.
    pub no_ack: bool,
    /// Another name of the queue.
    pub alias: Option<String>,
    /// The arguments of its declaration.
    pub queue_arguments: Option<Map<String, Value>>,
    /// The arguments of its binding.
    pub binding_arguments: Option<Map<String, Value>>,
    /// Other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl QueueInfo {
    /// Returns a durable queue that is bound to a durable direct exchange with this routing key.
    #[must_use]
    pub fn new(name: impl Into<String>, exchange: &str, routing_key: impl Into<String>) -> Self {
        let exchange = object(json!({
            "name": exchange,
            "type": "direct",
            "durable": true,
            "auto_delete": false,
            "passive": false,
            "arguments": null,
            "delivery_mode": null,
            "no_declare": false,
        }));
        // Tools expect every field that Celery's workers send.
        let more = object(json!({
            "bindings": [],
            "consumer_arguments": null,
            "expires": null,
            "message_ttl": null,
            "max_length": null,
            "max_length_bytes": null,
            "max_priority": null,
            "no_declare": null,
        }));
        let routing_key = Some(routing_key.into());
        QueueInfo { name: name.into(), exchange, routing_key, durable: true, more, ..QueueInfo::default() }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What a worker tells another one that starts (`mingle`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Hello {
    /// The ids of the tasks that it knows to be revoked.
    #[serde(deserialize_with = "ids")]
    pub revoked: Vec<String>,
    /// Its logical time.
    pub clock: u64,
}

/// Reads ids from a list, or from the keys of an object, as earlier versions send them.
fn ids<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        List(Vec<String>),
        Keys(Map<String, Value>),
        None(()),
    }
    Ok(match Ids::deserialize(deserializer)? {
        Ids::List(ids) => ids,
        Ids::Keys(keys) => keys.into_iter().map(|(id, _)| id).collect(),
        Ids::None(()) => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_tells_is_read_and_unknown_fields_are_kept() {
        let task: TaskInfo = serde_json::from_value(json!({
            "id": "1", "name": "t.add", "args": [1, 2], "kwargs": {}, "type": "t.add", "hostname": "w1@h",
            "time_start": 1795177651.7, "acknowledged": true, "worker_pid": 7, "new": 1,
            "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": false},
        }))
        .unwrap();
        assert_eq!((task.name.as_str(), &task.more["new"]), ("t.add", &json!(1)));
        assert_eq!(task.delivery_info["routing_key"], "celery");
        let safe: TaskInfo =
            serde_json::from_value(json!({"id": "1", "args": "(1, 2)", "time_start": null})).unwrap();
        assert_eq!(safe.args, "(1, 2)");
    }

    #[test]
    fn revoked_ids_come_in_a_list_or_as_keys() {
        for revoked in [json!(["a"]), json!({"a": 12.5})] {
            let hello: Hello = serde_json::from_value(json!({"revoked": revoked, "clock": 3})).unwrap();
            assert_eq!((hello.revoked, hello.clock), (vec!["a".to_owned()], 3));
        }
        let none: Hello = serde_json::from_value(json!({"revoked": null})).unwrap();
        assert_eq!(none, Hello::default());
    }
}
