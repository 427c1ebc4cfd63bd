//! A node that answers Celery's remote control as a worker does.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::{
    celery::remote::{
        control::Control,
        emitter::{Emitter, EventEmitter, OFFLINE},
        info::TaskInfo,
        service::Service,
    },
    error::Error,
    mailbox::{self, Failure, Request},
};

/// How often a worker tells that it is there, by default.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Any arguments: Celery's commands ignore those that they do not know.
type Any = Map<String, Value>;

/// The settings of a node that is about to start. [`Control::node`] makes it.
#[must_use = "a node is started by `start`"]
pub struct NodeBuilder {
    control: Control,
    name: String,
    service: Arc<dyn Service>,
    heartbeat: Duration,
    has_task_events: bool,
    further: mailbox::NodeBuilder,
}

impl Control {
    /// Returns the builder of a node of this name, by Celery's convention `name@host`, which
    /// answers for a service: `ping`, `clock`, `hello`, `stats`, `active`, `reserved`, `scheduled`,
    /// `registered`, `revoked`, `active_queues`, `conf`, `report`, `heartbeat`, `enable_events`,
    /// `disable_events` and `shutdown`. It is silent on others, unless a
    /// [`handler`](NodeBuilder::handler) is added.
    pub fn node(&self, name: impl Into<String>, service: impl Service) -> NodeBuilder {
        let name = name.into();
        NodeBuilder {
            further: self.mailbox.node(&name).silent_on_unknown(true),
            control: self.clone(),
            name,
            service: Arc::new(service),
            heartbeat: HEARTBEAT,
            has_task_events: true,
        }
    }
}

impl NodeBuilder {
    /// Sets how often the node emits a `worker-heartbeat` event; default 2 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Sets whether the node emits events of tasks from the start. Default true; the commands
    /// `enable_events` and `disable_events` change it.
    pub fn task_events(mut self, emitted: bool) -> Self {
        self.has_task_events = emitted;
        self
    }

    /// Sets how many commands are handled at once, at least 1; default 16. When as many are in
    /// progress, all others wait, `ping` and `shutdown` too: let handlers of commands that take
    /// long start a task and return.
    pub fn concurrency(mut self, handlers: u16) -> Self {
        self.further = self.further.concurrency(handlers);
        self
    }

    /// Adds the handler of a further command, or replaces one of the node's own. See
    /// [`mailbox::NodeBuilder::handler`]. Celery's tools expect answers of the form `{"ok": value}`
    /// from commands that do something. Its command line refuses commands that its own workers do
    /// not have; a program sends them with `app.control.broadcast`.
    pub fn handler<A, R, E, F, Fut>(mut self, method: impl Into<String>, handler: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Into<Failure>,
        F: Fn(Request, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.further = self.further.handler(method, handler);
        self
    }

    /// Starts the node, and emits `worker-online`.
    ///
    /// # Errors
    /// As [`mailbox::NodeBuilder::start`].
    ///
    /// # Cancel safety
    /// As [`mailbox::NodeBuilder::start`].
    pub async fn start(self) -> Result<Node, Error> {
        let NodeBuilder { control, name, service, heartbeat, has_task_events, further } = self;
        let emitter = Emitter::new(&control, &name, service.clone(), heartbeat, has_task_events).await?;
        let emitter = Arc::new(emitter);
        let own = Own { control, name, service, emitter: emitter.clone(), started: Instant::now() };
        // Handlers that were added come first, and so replace the node's own.
        let node = further.handlers(own).start().await?;
        emitter.worker("worker-online").await;
        let beating = tokio::spawn(emitter.clone().beat());
        Ok(Node { node, emitter, beating, is_online: true })
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A running node. [`NodeBuilder::start`] makes it.
///
/// # On drop
/// Handlers that run are aborted. `worker-offline` is not emitted: others notice that heartbeats
/// are missing.
#[must_use = "a node stops when it is dropped"]
pub struct Node {
    node: mailbox::Node,
    emitter: Arc<Emitter>,
    beating: JoinHandle<()>,
    is_online: bool,
}

impl Node {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// Returns a handle that emits events of its tasks.
    #[must_use]
    pub fn emitter(&self) -> EventEmitter {
        EventEmitter(self.emitter.clone())
    }

    /// Takes no more commands, waits for those in progress, and emits `worker-offline`. Without a
    /// connection that event is given up after 1 s.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, running handlers are aborted.
    pub async fn stop(mut self) {
        self.node.request_stop();
        // The reason why it ended before does not prevent the stop.
        let _ = self.wait().await;
    }

    /// Waits until the node was told to stop, or cannot go on, and emits `worker-offline`. See
    /// [`mailbox::Node::wait`].
    ///
    /// # Errors
    /// The reason, unless it was told to stop or its transport was closed.
    ///
    /// # Cancel safety
    /// When the future is dropped the node goes on, and can be waited for again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        let ended = self.node.wait().await;
        self.beating.abort();
        if std::mem::take(&mut self.is_online) {
            self.emitter.worker(OFFLINE).await;
        }
        ended
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// The handlers that every node has.
struct Own {
    control: Control,
    name: String,
    service: Arc<dyn Service>,
    emitter: Arc<Emitter>,
    started: Instant,
}

#[derive(Deserialize)]
struct FromNode {
    from_node: String,
}

impl mailbox::Handlers for Own {
    fn has(&self, method: &str) -> bool {
        METHODS.contains(&method)
    }

    async fn handle(&self, request: Request, arguments: mailbox::Arguments) -> Result<Value, Failure> {
        Ok(match request.method() {
            "ping" => json!({"ok": "pong"}),
            "clock" => json!({"clock": self.control.mailbox.clock()}),
            "hello" => self.hello(&arguments.read::<FromNode>()?.from_node),
            "stats" => Value::Object(self.stats()),
            "active" | "dump_active" => self.tasks(self.service.active())?,
            "reserved" | "dump_reserved" => self.tasks(self.service.reserved())?,
            "scheduled" | "dump_schedule" => serde_json::to_value(self.service.scheduled())?,
            "registered" | "dump_tasks" => json!(self.service.registered()),
            "revoked" | "dump_revoked" => json!(self.service.revoked()),
            "active_queues" => serde_json::to_value(self.service.active_queues())?,
            "conf" | "dump_conf" => Value::Object(self.service.conf()),
            "report" => json!({"ok": self.service.report()}),
            "heartbeat" => {
                self.emitter.worker("worker-heartbeat").await;
                Value::Null
            }
            "enable_events" => self.set_task_events(true),
            "disable_events" => self.set_task_events(false),
            "shutdown" => {
                let arguments: Any = arguments.read()?;
                let reason = arguments.get("msg").and_then(Value::as_str);
                self.service.shutdown(reason.unwrap_or("shut down by remote control"));
                // A worker that shuts down does not answer.
                request.withhold_reply();
                request.stop_node();
                Value::Null
            }
            other => return Err(Failure::unknown_method(other)),
        })
    }
}

/// The methods of [`Own`], with the earlier names that Celery still answers to.
const METHODS: [&str; 22] = [
    "ping",
    "clock",
    "hello",
    "stats",
    "active",
    "dump_active",
    "reserved",
    "dump_reserved",
    "scheduled",
    "dump_schedule",
    "registered",
    "dump_tasks",
    "revoked",
    "dump_revoked",
    "active_queues",
    "conf",
    "dump_conf",
    "report",
    "heartbeat",
    "enable_events",
    "disable_events",
    "shutdown",
];

impl Own {
    /// Completes what the node knows of its tasks itself.
    fn tasks(&self, mut tasks: Vec<TaskInfo>) -> Result<Value, Failure> {
        for task in &mut tasks {
            task.hostname.get_or_insert_with(|| self.name.clone());
            task.worker_pid.get_or_insert_with(|| std::process::id().into());
            task.kind.get_or_insert_with(|| task.name.clone());
        }
        Ok(serde_json::to_value(tasks)?)
    }

    /// A worker that starts greets all others, itself included.
    fn hello(&self, from_node: &str) -> Value {
        if from_node == self.name {
            return Value::Null;
        }
        json!({"revoked": self.service.revoked(), "clock": self.control.mailbox.namespace.clock.tick()})
    }

    fn stats(&self) -> Map<String, Value> {
        let own = json!({
            "total": {},
            "pid": std::process::id(),
            "clock": self.control.mailbox.clock().to_string(),
            "uptime": self.started.elapsed().as_secs(),
            "pool": {},
            "broker": {},
            "prefetch_count": 0,
            "rusage": "N/A",
        });
        let mut stats = own.as_object().cloned().unwrap_or_default();
        stats.extend(self.service.stats());
        stats
    }

    fn set_task_events(&self, emitted: bool) -> Value {
        let state = if emitted { "enabled" } else { "disabled" };
        match self.emitter.set_task_events(emitted) == emitted {
            true => json!({"ok": format!("task events already {state}")}),
            false => json!({"ok": format!("task events {state}")}),
        }
    }
}
