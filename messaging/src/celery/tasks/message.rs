//! The message of a task: Celery's second message protocol.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use amqp_client::{Array, Queue, Table, Value as Header};
use serde_json::{Value, json};

use crate::{
    celery::tasks::{
        repr,
        signature::{Signature, iso_time},
    },
    error::Error,
    publish::options::PublishOptions,
};

/// The name of this process as the origin of tasks.
static ORIGIN: LazyLock<String> = LazyLock::new(|| {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("gen{}@{host}", std::process::id())
});

/// What a task gets from whoever sends it.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) id: String,
    /// The id of the group that it belongs to, and its place there.
    pub(super) group: Option<(String, usize)>,
    /// The tasks that follow in its chain, the next one last.
    pub(super) chain: Vec<Value>,
    /// The last task of its chain, and whether its result is ignored.
    pub(super) last: Option<Box<(String, bool)>>,
}

impl Envelope {
    pub(super) fn new(id: String) -> Self {
        Envelope { id, group: None, chain: Vec::new(), last: None }
    }
}

/// The message of a task.
pub(super) struct TaskMessage {
    pub(super) options: PublishOptions,
    pub(super) body: Value,
}

impl TaskMessage {
    /// Returns the message of a task, for the queue that it goes to.
    ///
    /// # Errors
    /// Arguments that have no JSON form; an id over 255 bytes.
    pub(super) fn new(task: &Signature, envelope: &Envelope) -> Result<Self, Error> {
        let (args, kwargs) = task.arguments()?;
        let [callbacks, errbacks] = task.followers()?;
        let chain = if envelope.chain.is_empty() { Value::Null } else { json!(envelope.chain) };
        let embedded = json!({"callbacks": callbacks, "errbacks": errbacks, "chain": chain, "chord": null});
        let reply_to = task.app.reply_to(task.ignores_result);
        let mut options = PublishOptions::new()
            .correlation_id(&envelope.id)?
            .reply_to(reply_to.as_deref().unwrap_or_default())?;
        if task.declares {
            options = options.declare(Queue::durable(task.queue_name()));
        }
        if let Some(priority) = task.priority {
            options = options.priority(priority);
        }
        if let Some(expires) = task.expires {
            options = options.expiration(expires);
        }
        for (name, value) in headers(task, envelope, [repr::tuple(args), repr::dictionary(kwargs)])? {
            options = options.header(name, value)?;
        }
        Ok(TaskMessage { options, body: json!([args, kwargs, embedded]) })
    }
}

fn headers(
    task: &Signature,
    envelope: &Envelope,
    [args, kwargs]: [String; 2],
) -> Result<[(&'static str, Header); 19], Error> {
    let now = SystemTime::now();
    let after = |time: Option<Duration>| time.and_then(|time| now.checked_add(time));
    let eta = task.eta.or_else(|| after(task.countdown));
    let mut limits = Array::new();
    for limit in task.time_limits {
        let pushed = limits.push(limit.map_or(Header::Void, seconds)).map_err(amqp_client::Error::Invalid);
        pushed.map_err(Error::broker("set the header \"timelimit\""))?;
    }
    let (group, index) = envelope.group.clone().unzip();
    Ok([
        ("lang", text("py")),
        ("task", text(&task.name)),
        ("id", text(&envelope.id)),
        ("shadow", Header::Void),
        ("eta", optional(eta.map(iso_time))),
        ("expires", optional(after(task.expires).map(iso_time))),
        ("group", optional(group)),
        ("group_index", index.map_or(Header::Void, |index| whole(index as i64))),
        ("retries", Header::I32(0)),
        ("timelimit", Header::Array(limits)),
        ("root_id", text(&envelope.id)),
        ("parent_id", Header::Void),
        ("argsrepr", text(&args)),
        ("kwargsrepr", text(&kwargs)),
        ("origin", text(&ORIGIN)),
        ("ignore_result", Header::Bool(task.app.ignores(task.ignores_result))),
        ("replaced_task_nesting", Header::I32(0)),
        ("stamped_headers", Header::Void),
        ("stamps", Header::Table(Table::new())),
    ])
}

fn text(text: &str) -> Header {
    Header::LongString(text.into())
}

fn optional(value: Option<String>) -> Header {
    value.map_or(Header::Void, |value| text(&value))
}

/// A number in as few octets as Python takes.
fn whole(number: i64) -> Header {
    i32::try_from(number).map_or(Header::I64(number), Header::I32)
}

/// A time limit: a whole number where it is one.
fn seconds(time: Duration) -> Header {
    match i64::try_from(time.as_secs()) {
        Ok(seconds) if time.subsec_nanos() == 0 => whole(seconds),
        _ => Header::F64(time.as_secs_f64()),
    }
}
