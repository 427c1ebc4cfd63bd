//! Stores what becomes of a task: by `rpc://`, a message to whoever sent it.

use std::time::SystemTime;

use amqp_client::{Exchange, Report};
use serde_json::{Value, json};

use crate::{
    celery::tasks::{
        message::iso_time,
        state::{TaskFailure, TaskState},
    },
    error::Error,
    publish::{options::PublishOptions, producer::Producer},
    transport::Transport,
};

/// The task whose state is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) id: &'a str,
    pub(super) reply_to: Option<&'a str>,
    pub(super) group: Option<&'a str>,
    pub(super) parent_id: Option<&'a str>,
}

/// The state of a task as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) state: TaskState,
    pub(super) result: Value,
    pub(super) traceback: Option<String>,
    /// The ids of the tasks that it has sent to follow it.
    pub(super) children: Vec<String>,
}

impl Meta {
    pub(super) fn new(state: TaskState, result: Value) -> Self {
        Meta { state, result, traceback: None, children: Vec::new() }
    }

    pub(super) fn failed(state: TaskState, failure: &TaskFailure) -> Self {
        Meta { traceback: Some(failure.trace()), ..Meta::new(state, failure.stored()) }
    }

    /// Returns it as Celery's backends store it.
    pub(super) fn encoded(&self, of: Of<'_>) -> Value {
        let done = self.state.is_final().then(|| iso_time(SystemTime::now()));
        let children: Vec<_> = self.children.iter().map(|id| json!([[id, null], null])).collect();
        let mut meta = json!({
            "task_id": of.id,
            "status": self.state,
            "result": self.result,
            "traceback": self.traceback,
            "children": children,
            "date_done": done,
        });
        for (name, value) in [("group_id", of.group), ("parent_id", of.parent_id)] {
            if let Some(value) = value {
                meta[name] = value.into();
            }
        }
        meta
    }
}

/// Where the states of tasks are stored.
#[derive(Clone)]
pub(super) struct Store {
    /// Whoever waits for a result may have gone, and its queue with it.
    replies: Producer,
}

impl Store {
    pub(super) fn new(transport: &Transport) -> Self {
        Store { replies: transport.producer(Exchange::default()).mandatory(false) }
    }

    /// Stores the state of a task. A failure is logged: nobody else could be told of it.
    pub(super) async fn store(&self, of: Of<'_>, meta: &Meta) {
        if let Err(error) = self.publish(of, meta).await {
            let (id, state) = (of.id, meta.state.as_str());
            tracing::error!(id, state, error = %Report(&error), "the state of a task cannot be stored");
        }
    }

    async fn publish(&self, of: Of<'_>, meta: &Meta) -> Result<(), Error> {
        let Some(queue) = of.reply_to else { return Ok(()) };
        let options = PublishOptions::new().transient().correlation_id(of.id)?;
        self.replies.ensure_publish((queue, &options), &meta.encoded(of)).await.map(drop)
    }
}
