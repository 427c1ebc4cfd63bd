//! The context of a call, which its task can see.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::celery::{
    tasks::app::Celery,
    worker::{task::call::Call, task::raise::Retry},
};

/// The call of a task, as the task sees it: what Celery binds to `self.request`. Cloning is cheap.
#[derive(Clone)]
pub struct TaskContext {
    call: Arc<Call>,
    app: Celery,
    soft: SoftLimit,
}

impl TaskContext {
    pub(crate) fn new(call: Arc<Call>, app: &Celery, soft: SoftLimit) -> Self {
        let app = app.within(call.root_id(), &call.id);
        TaskContext { call, app, soft }
    }

    /// Returns the task's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.call.id
    }

    /// Returns the task's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.call.name
    }

    /// Returns how often it was tried before.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.call.retries
    }

    /// Returns the id of the task that began it all; its own if it did so itself.
    #[must_use]
    pub fn root_id(&self) -> &str {
        self.call.root_id()
    }

    /// Returns the id of the task that sent it.
    #[must_use]
    pub fn parent_id(&self) -> Option<&str> {
        self.call.parent_id.as_deref()
    }

    /// Returns the id of its group.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.call.group.as_deref()
    }

    /// Returns its place in its group.
    #[must_use]
    pub fn group_index(&self) -> Option<i64> {
        self.call.group_index
    }

    /// Returns the queue that its sender receives results from.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.call.reply_to.as_deref()
    }

    /// Returns the queue that it came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.call.queue
    }

    /// Returns when it was to run at the earliest.
    #[must_use]
    pub fn eta(&self) -> Option<SystemTime> {
        self.call.eta
    }

    /// Tells whether its message was delivered before: it may have run already.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.call.redelivered
    }

    /// Returns the positional arguments as they came.
    #[must_use]
    pub fn args(&self) -> &[Value] {
        &self.call.arguments.args
    }

    /// Returns the time that it may run, after which it is ended.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        self.call.time_limits[0]
    }

    /// Returns the token that is cancelled when the soft limit has passed.
    #[must_use]
    pub fn soft_limit(&self) -> &SoftLimit {
        &self.soft
    }

    /// Returns the application, for tasks that this one sends: they have it as their parent, and
    /// its root as theirs.
    #[must_use]
    pub fn app(&self) -> &Celery {
        &self.app
    }

    /// Begins to ask for another run, later. The task returns it as its error.
    pub fn retry(&self) -> Retry {
        Retry::default()
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The token of a soft time limit. A task that sees it cancelled should clean up and end, before
/// the hard limit ends it; [`TaskFailure`](crate::celery::TaskFailure) `SoftTimeLimitExceeded` is
/// what Celery's tasks fail with then. Cloning gives another handle to it.
#[derive(Clone, Debug, Default)]
pub struct SoftLimit(CancellationToken);

impl SoftLimit {
    /// Tells whether the limit has passed.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the limit has passed; without a limit that is for ever.
    ///
    /// # Cancel safety
    /// It can be called again.
    pub async fn exceeded(&self) {
        self.0.cancelled().await;
    }

    pub(crate) fn exceed(&self) {
        self.0.cancel();
    }
}
