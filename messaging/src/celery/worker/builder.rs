//! The settings of a worker.

use std::{fmt, thread::available_parallelism, time::Duration};

use crate::{
    celery::{
        tasks::{app::Celery, message::HOST},
        worker::task::definition::Task,
    },
    consume::bound_queue::BoundQueue,
};

/// Celery's `worker_prefetch_multiplier`.
const MULTIPLIER: u16 = 4;
/// Celery's interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The treatment of messages that the worker cannot run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unhandled {
    /// That of Celery: what cannot be decoded is acknowledged, and so it is gone; what is no call
    /// of a task, or of a task that is not registered, is rejected. The broker dead-letters it if
    /// its queue says so.
    #[default]
    Default,
    /// It is moved to the durable queue `QUEUE.dead`, with the reason in the header `x-failure`.
    SetAside,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) concurrency: u16,
    pub(super) multiplier: u16,
    pub(super) acks_late: bool,
    pub(super) reject_on_worker_lost: bool,
    pub(super) track_started: bool,
    /// The hard limit, then the soft one.
    pub(super) time_limits: [Option<Duration>; 2],
    pub(super) undecodable: Unhandled,
    pub(super) unknown: Unhandled,
    pub(super) task_events: bool,
    pub(super) heartbeat: Duration,
}

/// The settings of a worker that is about to start. [`Celery::worker`] makes it.
#[must_use = "a worker is started by `start`"]
pub struct WorkerBuilder {
    pub(super) app: Celery,
    pub(super) name: String,
    pub(super) tasks: Vec<Task>,
    pub(super) queues: Vec<BoundQueue>,
    pub(super) settings: Settings,
}

impl Celery {
    /// Begins a worker, which runs tasks that are sent in any language.
    pub fn worker(&self) -> WorkerBuilder {
        let concurrency = available_parallelism().ok().and_then(|cores| u16::try_from(cores.get()).ok());
        WorkerBuilder {
            app: self.clone(),
            name: format!("celery@{}", &*HOST),
            tasks: Vec::new(),
            queues: Vec::new(),
            settings: Settings {
                concurrency: concurrency.unwrap_or(1),
                multiplier: MULTIPLIER,
                acks_late: false,
                reject_on_worker_lost: false,
                track_started: false,
                time_limits: [None; 2],
                undecodable: Unhandled::Default,
                unknown: Unhandled::Default,
                task_events: false,
                heartbeat: HEARTBEAT,
            },
        }
    }
}

impl WorkerBuilder {
    /// Sets the name of the worker, by convention `name@host`, which no other has; default
    /// `celery@` and the host's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a task that it can run. A later one of the same name replaces an earlier one.
    pub fn task(mut self, task: Task) -> Self {
        self.tasks.push(task);
        self
    }

    /// Adds a queue to consume from. Default: the queue of the application,
    /// [`Celery::default_queue`].
    pub fn queue(mut self, queue: impl Into<BoundQueue>) -> Self {
        self.queues.push(queue.into());
        self
    }

    /// Sets how many tasks run at once, at least one. Default: the number of cores.
    pub fn concurrency(mut self, tasks: u16) -> Self {
        self.settings.concurrency = tasks.max(1);
        self
    }

    /// Sets how many tasks the broker sends in advance from each queue, as a multiple of the
    /// [concurrency](Self::concurrency); 0 is without limit. Default 4. Tasks that wait for their
    /// time do not count, up to 65,535 of them and 64 MiB.
    pub fn prefetch_multiplier(mut self, multiplier: u16) -> Self {
        self.settings.multiplier = multiplier;
        self
    }

    /// Sets whether messages are acknowledged when their tasks have ended, and not when they begin.
    /// A task whose worker is killed then runs again. Default false.
    pub fn acks_late(mut self, late: bool) -> Self {
        self.settings.acks_late = late;
        self
    }

    /// Sets whether a late message goes back to its queue when its task panics; one that was
    /// delivered before does not. Default false: it fails with `WorkerLostError`.
    pub fn reject_on_worker_lost(mut self, reject: bool) -> Self {
        self.settings.reject_on_worker_lost = reject;
        self
    }

    /// Sets whether the state `STARTED` is stored when tasks begin; default false.
    pub fn track_started(mut self, track: bool) -> Self {
        self.settings.track_started = track;
        self
    }

    /// Limits the time that tasks may run; see [`Task::time_limits`]. Default: without limits.
    pub fn time_limits(mut self, soft: Option<Duration>, hard: Option<Duration>) -> Self {
        self.settings.time_limits = [hard, soft];
        self
    }

    /// Sets what happens to a message that cannot be decoded, or is no call of a task.
    pub fn on_undecodable(mut self, action: Unhandled) -> Self {
        self.settings.undecodable = action;
        self
    }

    /// Sets what happens to the message of a task that is not registered, or that belongs to a
    /// chord. It fails with `NotRegistered` or `NotImplementedError` in either case.
    pub fn on_unknown(mut self, action: Unhandled) -> Self {
        self.settings.unknown = action;
        self
    }

    /// Sets whether events of tasks are emitted from the start, as by Celery's option `-E`. Default
    /// false; the commands `enable_events` and `disable_events` change it.
    pub fn task_events(mut self, emitted: bool) -> Self {
        self.settings.task_events = emitted;
        self
    }

    /// Sets how often a `worker-heartbeat` event is emitted; default 2 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.settings.heartbeat = interval;
        self
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("name", &self.name)
            .field("tasks", &self.tasks)
            .field("queues", &self.queues)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
