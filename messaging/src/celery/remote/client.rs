//! The commands of Celery's remote control.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    celery::remote::{
        command::CeleryCommand,
        control::Control,
        info::{Hello, QueueInfo, ScheduledTask, TaskInfo},
    },
    mailbox::Command,
};

/// How tasks are revoked. Default: they are not run if they have not begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Revoke {
    terminate: bool,
    signal: Option<String>,
}

impl Revoke {
    /// Returns the default.
    #[must_use]
    pub fn new() -> Self {
        Revoke::default()
    }

    /// Ends the process of a task that has begun, with this signal, for example `SIGTERM`.
    #[must_use]
    pub fn terminate(mut self, signal: impl Into<String>) -> Self {
        self.terminate = true;
        self.signal = Some(signal.into());
        self
    }
}

/// How a worker is to consume from a further queue. Default: the queue is bound to the exchange of
/// its own name and of type `direct`, with its name as the routing key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Consume {
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<String>,
}

impl Consume {
    /// Returns the default.
    #[must_use]
    pub fn new() -> Self {
        Consume::default()
    }

    /// Sets the exchange and its type.
    #[must_use]
    pub fn exchange(mut self, name: impl Into<String>, kind: impl Into<String>) -> Self {
        (self.exchange, self.exchange_type) = (Some(name.into()), Some(kind.into()));
        self
    }

    /// Sets the routing key.
    #[must_use]
    pub fn routing_key(mut self, key: impl Into<String>) -> Self {
        self.routing_key = Some(key.into());
        self
    }
}

/// What workers know and do: `celery inspect`.
impl Control {
    /// Asks whether workers are there: each answers `pong`.
    pub fn ping(&self) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("ping", json!({})))
    }

    /// Asks for statistics: processed tasks, pool, broker, resources used. They differ between
    /// versions and pools of workers.
    pub fn stats(&self) -> CeleryCommand<Map<String, Value>> {
        CeleryCommand::of_values(self.command("stats", json!({})))
    }

    /// Asks for the tasks that run. With `safe` arguments are texts that show them.
    pub fn active(&self, safe: bool) -> CeleryCommand<Vec<TaskInfo>> {
        CeleryCommand::of_values(self.command("active", json!({"safe": safe})))
    }

    /// Asks for the tasks that were received and wait to run.
    pub fn reserved(&self) -> CeleryCommand<Vec<TaskInfo>> {
        CeleryCommand::of_values(self.command("reserved", json!({})))
    }

    /// Asks for the tasks that wait for their time.
    pub fn scheduled(&self) -> CeleryCommand<Vec<ScheduledTask>> {
        CeleryCommand::of_values(self.command("scheduled", json!({})))
    }

    /// Asks for the names of the tasks that workers can run. Each is followed by those of the
    /// `attributes` that the task has, such as `rate_limit`, in brackets.
    pub fn registered(&self, attributes: &[&str]) -> CeleryCommand<Vec<String>> {
        CeleryCommand::of_values(self.command("registered", json!({"taskinfoitems": attributes})))
    }

    /// Asks for the ids of the tasks that are revoked.
    pub fn revoked(&self) -> CeleryCommand<Vec<String>> {
        CeleryCommand::of_values(self.command("revoked", json!({})))
    }

    /// Asks for the queues that workers consume from.
    pub fn active_queues(&self) -> CeleryCommand<Vec<QueueInfo>> {
        CeleryCommand::of_values(self.command("active_queues", json!({})))
    }

    /// Asks for the settings of workers, those that have default values included if wanted.
    pub fn conf(&self, with_defaults: bool) -> CeleryCommand<Map<String, Value>> {
        CeleryCommand::of_values(self.command("conf", json!({"with_defaults": with_defaults})))
    }

    /// Asks for tasks by their ids. The answer has those that the worker knows, each with its state
    /// (`active`, `reserved`, `scheduled` or `ready`).
    pub fn query_task(
        &self,
        ids: &[&str],
    ) -> CeleryCommand<std::collections::BTreeMap<String, (String, TaskInfo)>> {
        CeleryCommand::of_values(self.command("query_task", json!({"ids": ids})))
    }

    /// Asks for a report for bug reports: versions and settings, as text.
    pub fn report(&self) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("report", json!({})))
    }

    /// Asks for the logical time.
    pub fn clock(&self) -> CeleryCommand<u64> {
        CeleryCommand::decoded(self.command("clock", json!({})), |reply| {
            #[derive(serde::Deserialize)]
            struct Clock {
                clock: u64,
            }
            reply.decode::<Clock>().map(|clock| clock.clock)
        })
    }

    /// Asks for a sample of the memory used; workers without the package `psutil` answer `None`.
    pub fn memsample(&self) -> CeleryCommand<Option<String>> {
        CeleryCommand::of_values(self.command("memsample", json!({})))
    }

    /// Introduces a worker that starts, with the ids of the tasks that it knows to be revoked. The
    /// worker itself answers `None`.
    pub fn hello(&self, from_node: &str, revoked: &[&str]) -> CeleryCommand<Option<Hello>> {
        CeleryCommand::of_values(self.command("hello", json!({"from_node": from_node, "revoked": revoked})))
    }
}

/// What workers are to do: `celery control`. The answers are texts for humans.
impl Control {
    /// Revokes tasks by their ids.
    pub fn revoke(&self, ids: &[&str], how: &Revoke) -> CeleryCommand<String> {
        let Revoke { terminate, signal } = how;
        let arguments = json!({"task_id": ids, "terminate": terminate, "signal": signal});
        CeleryCommand::of_ok(self.command("revoke", arguments))
    }

    /// Revokes the tasks that carry one of these stamped headers, each with its values.
    pub fn revoke_by_stamped_headers(
        &self,
        headers: &Map<String, Value>,
        how: &Revoke,
    ) -> CeleryCommand<String> {
        let Revoke { terminate, signal } = how;
        let arguments = json!({"headers": headers, "terminate": terminate, "signal": signal});
        CeleryCommand::of_ok(self.command("revoke_by_stamped_headers", arguments))
    }

    /// Ends the processes of tasks by a signal, for example `SIGTERM`.
    pub fn terminate(&self, ids: &[&str], signal: &str) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("terminate", json!({"task_id": ids, "signal": signal})))
    }

    /// Sets how often a task may run, for example `10/m`; `0` removes the limit.
    pub fn rate_limit(&self, task: &str, rate: &str) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("rate_limit", json!({"task_name": task, "rate_limit": rate})))
    }

    /// Sets how many seconds a task may run until an exception is raised in it (`soft`), and until
    /// its process is ended (`hard`).
    pub fn time_limit(&self, task: &str, soft: Option<f64>, hard: Option<f64>) -> CeleryCommand<String> {
        let arguments = json!({"task_name": task, "soft": soft, "hard": hard});
        CeleryCommand::of_ok(self.command("time_limit", arguments))
    }

    /// Makes workers emit events of their tasks.
    pub fn enable_events(&self) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("enable_events", json!({})))
    }

    /// Makes workers emit no events of their tasks.
    pub fn disable_events(&self) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("disable_events", json!({})))
    }

    /// Makes workers emit a heartbeat event now.
    pub fn heartbeat(&self) -> CeleryCommand<()> {
        CeleryCommand::of_values(self.command("heartbeat", json!({})))
    }

    /// Makes workers consume from a further queue.
    pub fn add_consumer(&self, queue: &str, how: &Consume) -> CeleryCommand<String> {
        let mut arguments = json!(how);
        arguments["queue"] = queue.into();
        CeleryCommand::of_ok(self.command("add_consumer", arguments))
    }

    /// Makes workers no longer consume from a queue.
    pub fn cancel_consumer(&self, queue: &str) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("cancel_consumer", json!({"queue": queue})))
    }

    /// Adds processes or threads to the pools.
    pub fn pool_grow(&self, n: u32) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("pool_grow", json!({"n": n})))
    }

    /// Takes processes or threads from the pools.
    pub fn pool_shrink(&self, n: u32) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("pool_shrink", json!({"n": n})))
    }

    /// Sets the most and the fewest processes of pools that scale by themselves.
    pub fn autoscale(&self, max: u32, min: u32) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("autoscale", json!({"max": max, "min": min})))
    }

    /// Starts the pools again. With `reload` they import these modules again; without any, all
    /// modules of tasks.
    pub fn pool_restart(&self, modules: Option<&[&str]>, reload: bool) -> CeleryCommand<String> {
        CeleryCommand::of_ok(self.command("pool_restart", json!({"modules": modules, "reload": reload})))
    }

    /// Stops workers. They do not answer.
    pub fn shutdown(&self) -> CeleryCommand<()> {
        CeleryCommand::of_values(self.command("shutdown", json!({})))
    }

    /// Holds an election among workers; the one that wins runs the action of this topic.
    pub fn election(&self, id: &str, topic: &str, action: Option<&Value>) -> CeleryCommand<()> {
        let arguments = json!({"id": id, "topic": topic, "action": action});
        CeleryCommand::of_values(self.command("election", arguments))
    }
}

impl Control {
    /// Returns a command with the arguments in this object.
    fn command(&self, method: &str, arguments: Value) -> Command {
        self.mailbox.command(method).object(match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        })
    }
}
