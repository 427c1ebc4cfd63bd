//! Emits the events of a node.

use std::{fmt, sync::Arc, time::Duration};

use amqp_client::Report;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    celery::remote::{
        control::Control,
        event::{self, TaskEvent},
        service::Service,
    },
    error::Error,
    publish::{options::PublishOptions, producer::Producer},
    retry::RetryPolicy,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// How long an event is retried: a later one tells more.
const DEADLINE: Duration = Duration::from_secs(5);

/// The event of a node that stops.
pub(super) const OFFLINE: &str = "worker-offline";

/// How long `worker-offline` is retried, because a service waits for it when it stops.
const LAST_DEADLINE: Duration = Duration::from_secs(1);

/// Emits the events of a node's tasks. [`Node::emitter`](crate::celery::Node::emitter) makes it.
/// Cloning gives another handle to it, which may outlive the node.
#[derive(Clone)]
pub struct EventEmitter(pub(super) Arc<Emitter>);

impl EventEmitter {
    /// Emits an event of a task, unless events of tasks are disabled.
    ///
    /// # Errors
    /// When it could not be published within 5 s.
    ///
    /// # Cancel safety
    /// When the future is dropped the event may or may not be emitted.
    pub async fn emit(&self, event: TaskEvent) -> Result<(), Error> {
        self.0.task(event).await
    }
}

impl EventEmitter {
    /// Tells whether events of tasks are emitted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.has_task_events.load(Relaxed)
    }

    /// Returns the body of an event that happens now.
    pub(crate) fn body(&self, event: TaskEvent) -> Value {
        self.0.body(event.kind, event.fields).into()
    }

    /// Publishes the bodies of events of tasks in one message, as Celery's workers do. A failure is
    /// logged: events are dropped then.
    pub(crate) async fn publish(&self, bodies: Vec<Value>) {
        if let Err(error) = self.0.publish("task.multi", &bodies, DEADLINE).await {
            let (node, events) = (&*self.0.hostname, bodies.len());
            tracing::warn!(node, events, error = %Report(&error), "events of tasks could not be emitted; they are dropped");
        }
    }
}

impl fmt::Debug for EventEmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventEmitter").field("hostname", &self.0.hostname).finish_non_exhaustive()
    }
}

pub(super) struct Emitter {
    control: Control,
    hostname: String,
    service: Arc<dyn Service>,
    producer: Producer,
    interval: Duration,
    has_task_events: AtomicBool,
}

impl Emitter {
    pub(super) async fn new(
        control: &Control,
        hostname: &str,
        service: Arc<dyn Service>,
        interval: Duration,
        has_task_events: bool,
    ) -> Result<Self, Error> {
        let producer = control.transport.producer(control.events_exchange().await?);
        let has_task_events = AtomicBool::new(has_task_events);
        let (control, hostname) = (control.clone(), hostname.to_owned());
        Ok(Emitter { control, hostname, service, producer, interval, has_task_events })
    }

    /// Sets whether events of tasks are emitted; returns whether they were.
    pub(super) fn set_task_events(&self, emitted: bool) -> bool {
        self.has_task_events.swap(emitted, Relaxed)
    }

    /// Emits an event of a task, if those are wanted.
    pub(super) async fn task(&self, event: TaskEvent) -> Result<(), Error> {
        if !self.has_task_events.load(Relaxed) {
            return Ok(());
        }
        self.emit(event.kind, event.fields, DEADLINE).await
    }

    /// Emits a `worker-…` event. A failure is logged: the next heartbeat says the same.
    pub(super) async fn worker(&self, kind: &str) {
        let fields = json!({
            "freq": self.interval.as_secs_f64(),
            "active": self.service.active().len(),
            "processed": self.service.processed(),
            "loadavg": load_average(),
            "sw_ident": "messaging",
            "sw_ver": env!("CARGO_PKG_VERSION"),
            "sw_sys": system(),
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        let deadline = if kind == OFFLINE { LAST_DEADLINE } else { DEADLINE };
        if let Err(error) = self.emit(kind, fields, deadline).await {
            let node = &*self.hostname;
            tracing::warn!(node, event = kind, error = %Report(&error), "an event could not be emitted; it is dropped");
        }
    }

    /// Emits a heartbeat in each interval, for ever.
    pub(super) async fn beat(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.interval).await;
            self.worker("worker-heartbeat").await;
        }
    }

    async fn emit(&self, kind: &str, fields: Map<String, Value>, deadline: Duration) -> Result<(), Error> {
        self.publish(&event::routing_key(kind), &self.body(kind, fields), deadline).await
    }

    fn body(&self, kind: &str, fields: Map<String, Value>) -> Map<String, Value> {
        let time = self.control.mailbox.namespace.clock.tick();
        let mut body = event::common(kind, &self.hostname, time);
        body.extend(fields);
        body
    }

    async fn publish<T: Serialize>(&self, key: &str, body: &T, deadline: Duration) -> Result<(), Error> {
        let options = PublishOptions::new().transient().header("hostname", self.hostname.clone())?;
        let producer = self.producer.clone().retry(RetryPolicy::default().deadline(deadline));
        producer.ensure_publish((key, &options), body).await.map(drop)
    }
}

/// The load averages over 1, 5 and 15 minutes; zeros where the system does not tell.
fn load_average() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    std::array::from_fn(|_| numbers.next().unwrap_or(0.0))
}

/// The system's name as Python's `platform.system` has it.
fn system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "windows" => "Windows",
        other => other,
    }
}
