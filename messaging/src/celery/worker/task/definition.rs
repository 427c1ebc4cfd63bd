//! The tasks that a worker can run.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::celery::{
    tasks::state::TaskFailure,
    worker::{task::arguments::Arguments, task::context::TaskContext, task::raise::Raise},
};

/// Celery's `max_retries` of a task.
const MAX_RETRIES: u32 = 3;
/// Celery's `default_retry_delay` of a task.
const RETRY_DELAY: Duration = Duration::from_secs(180);

/// The result of a run of a task.
pub(crate) type Ran = Result<Value, Raise>;

type Begin = dyn Fn(TaskContext, Arguments) -> BoxFuture<'static, Ran> + Send + Sync;
type Blocking = dyn Fn(TaskContext, Arguments) -> Ran + Send + Sync;

/// The function of a task, by the way it runs.
#[derive(Clone)]
pub(crate) enum Code {
    Async(Arc<Begin>),
    /// It runs in a thread of its own.
    Blocking(Arc<Blocking>),
}

/// A task that a worker can run: its name, its function and its options.
///
/// The arguments are one type that serde reads. A struct has a field for each parameter, which
/// positional and named arguments may fill, and `#[serde(default)]` for those that may be missing;
/// a tuple has positional ones only, a map named ones only, `()` none. Arguments that do not fit
/// fail with `TypeError`, as in Python.
///
/// ```
/// use messaging::celery::{Raise, Task, TaskContext};
///
/// #[derive(serde::Deserialize)]
/// struct Resize {
///     path: String,
///     #[serde(default)]
///     width: u32,
/// }
///
/// let add = Task::new("proj.add", |_, (a, b): (i64, i64)| async move { Ok::<_, Raise>(a + b) });
/// let resize = Task::blocking("proj.resize", |task: TaskContext, image: Resize| {
///     let size = std::fs::metadata(&image.path).map_err(|error| task.retry().because(error))?;
///     Ok::<_, Raise>(size.len() * u64::from(image.width))
/// });
/// # let _ = (add, resize);
/// ```
#[derive(Clone)]
#[must_use = "a task is added to a worker"]
pub struct Task {
    pub(crate) name: String,
    pub(crate) code: Code,
    pub(crate) max_retries: Option<u32>,
    pub(crate) retry_delay: Duration,
    pub(crate) acks_late: Option<bool>,
    pub(crate) reject_on_worker_lost: Option<bool>,
    pub(crate) ignore_result: bool,
    pub(crate) track_started: Option<bool>,
    /// The hard limit, then the soft one.
    pub(crate) time_limits: [Option<Duration>; 2],
}

impl Task {
    /// Makes a task of an async function. It must not block its thread, or it holds up others.
    pub fn new<A, R, E, F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Into<Raise>,
        F: Fn(TaskContext, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let begin = move |context, arguments: Arguments| match read(arguments) {
            Ok(arguments) => {
                let running = run(context, arguments);
                async move { ended(running.await) }.boxed()
            }
            Err(raise) => std::future::ready(Err(raise)).boxed(),
        };
        Task::of(name.into(), Code::Async(Arc::new(begin)))
    }

    /// Makes a task of a function that blocks. Each run has a thread of its own. It keeps that, and
    /// its place among the tasks that run at once, until it returns, whatever its time limits say.
    pub fn blocking<A, R, E, F>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Into<Raise>,
        F: Fn(TaskContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        let run = move |context, arguments: Arguments| ended(run(context, read(arguments)?));
        Task::of(name.into(), Code::Blocking(Arc::new(run)))
    }

    fn of(name: String, code: Code) -> Self {
        Task {
            name,
            code,
            max_retries: Some(MAX_RETRIES),
            retry_delay: RETRY_DELAY,
            acks_late: None,
            reject_on_worker_lost: None,
            ignore_result: false,
            track_started: None,
            time_limits: [None; 2],
        }
    }

    /// Sets how often it may be tried again, `None` for any number; default 3.
    pub fn max_retries(mut self, retries: Option<u32>) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets the pause before it is tried again; default 180 s.
    pub fn retry_delay(mut self, pause: Duration) -> Self {
        self.retry_delay = pause;
        self
    }

    /// Sets whether its message is acknowledged when it has ended, and not when it begins. Default:
    /// the worker's.
    pub fn acks_late(mut self, late: bool) -> Self {
        self.acks_late = Some(late);
        self
    }

    /// Sets whether a late message goes back to its queue when the task panics, once. Default: the
    /// worker's.
    pub fn reject_on_worker_lost(mut self, reject: bool) -> Self {
        self.reject_on_worker_lost = Some(reject);
        self
    }

    /// Sets whether nobody wants its result; default false.
    pub fn ignore_result(mut self, ignore: bool) -> Self {
        self.ignore_result = ignore;
        self
    }

    /// Sets whether the state `STARTED` is stored when it begins. Default: the worker's.
    pub fn track_started(mut self, track: bool) -> Self {
        self.track_started = Some(track);
        self
    }

    /// Limits the time that it may run: after the soft limit its token is cancelled, after the hard
    /// one it is ended. Default: the worker's; a sender may choose others.
    pub fn time_limits(mut self, soft: Option<Duration>, hard: Option<Duration>) -> Self {
        self.time_limits = [hard, soft];
        self
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).finish_non_exhaustive()
    }
}

fn read<A: DeserializeOwned>(arguments: Arguments) -> Result<A, Raise> {
    let wrong =
        |error: serde_json::Error| TaskFailure::new("TypeError", error.to_string()).module("builtins");
    arguments.read().map_err(|error| wrong(error).into())
}

fn ended<R: Serialize, E: Into<Raise>>(ended: Result<R, E>) -> Ran {
    let encoded = serde_json::to_value(ended.map_err(Into::into)?);
    let wrong = |error: serde_json::Error| TaskFailure::new("EncodeError", error.to_string());
    encoded.map_err(|error| wrong(error).module("kombu.exceptions").into())
}
