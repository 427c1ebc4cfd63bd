//! Celery: tasks for its workers and their results; workers for tasks; remote control and events: a
//! client for `celery inspect` and `celery control`, and a node that Celery's own tools find beside
//! its workers.
//!
//! # Celery and Rust side by side
//! An application in Rust speaks the second message protocol of Celery's tasks, and JSON. Whatever
//! the broker is, a task is sent in one language and runs in the other:
//!
//! | in Python | here |
//! |---|---|
//! | `app.send_task("proj.add", (2, 3))`, `signature.apply_async(countdown=5)` | [`Celery::task`], [`Signature::send`] |
//! | `result.get(timeout=10)`, `result.revoke()` | [`AsyncResult::get`], [`AsyncResult::revoke`] |
//! | `chain`, `group`, `link`, `link_error` | [`Chain`], [`Group`], [`Signature::link`], [`Signature::link_error`] |
//! | `task_routes`, `task_default_queue` | [`Celery::routes`], [`Celery::default_queue`] |
//! | `@app.task(name="proj.add")` | [`Task::new`], [`Task::blocking`] |
//! | `bind=True`, `self.request` | [`TaskContext`] |
//! | `raise self.retry(countdown=5, exc=error)` | [`TaskContext::retry`], returned as the error |
//! | `raise ValueError("no")`, `Reject`, `Ignore` | [`Raise`]; every Rust error becomes one |
//! | `acks_late`, `reject_on_worker_lost`, `track_started`, `time_limit`, `soft_time_limit` | the same of [`Task`] and [`WorkerBuilder`] |
//! | `celery worker -Q a,b -c 8 -E -n w1@host` | [`WorkerBuilder::queue`], [`concurrency`](WorkerBuilder::concurrency), [`task_events`](WorkerBuilder::task_events), [`name`](WorkerBuilder::name) |
//! | `celery inspect`, `celery control`, `celery events` | [`Control`], [`EventReceiver`]; they see workers in either language |
//!
//! Results travel by `rpc://`, so that applications in Python need `backend="rpc://"`. Exceptions
//! keep their names: `except ValueError` works in Python for a failure with the module `builtins`.
//!
//! These are the differences:
//! - A soft limit cancels a token, [`SoftLimit`], because nothing can be raised in a running
//!   function. A hard one drops the future of an async task; a blocking task keeps its thread and
//!   its place until it returns.
//! - A panic is what the loss of a process is to Celery: `WorkerLostError`.
//! - A task that is sent again for a retry goes to the queue that it came from, through the default
//!   exchange.
//! - A task that waits for its time is in the worker's memory, and its message is not acknowledged.
//!   RabbitMQ closes channels with messages that are not acknowledged for 30 minutes; Celery's
//!   workers have the same limit.
//! - There are no other backends, and so no chords: the message of a task that belongs to one is
//!   refused. Rate limits, `revoke_by_stamped_headers`, autoscaling and delays by quorum queues are
//!   not there either, and neither is beat.
//! - Bodies in pickle and YAML are not read.
//!
//! # Remote control
//! ```
//! use messaging::{Transport, celery::{Service, TaskInfo}};
//!
//! struct Mailer;
//!
//! impl Service for Mailer {
//!     fn registered(&self) -> Vec<String> {
//!         vec!["mails.send".to_owned()]
//!     }
//!
//!     fn active(&self) -> Vec<TaskInfo> {
//!         vec![TaskInfo::new("id-1", "mails.send")]
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), messaging::Error> {
//! let transport = Transport::connect("memory://celery").await?;
//! let control = transport.celery();
//! let node = control.node("mailer@host", Mailer).start().await?;
//!
//! let answers = control.ping().to(["mailer@host"]).call().await?;
//! assert_eq!(answers.of("mailer@host").expect("an answer"), "pong");
//! let answers = control.active(false).to(["mailer@host"]).call().await?;
//! assert_eq!(answers.of("mailer@host").expect("an answer")[0].name, "mails.send");
//! node.stop().await;
//! # Ok(())
//! # }
//! ```

mod remote;
mod tasks;
mod worker;

pub use remote::{
    Answers, CeleryCommand, Consume, Control, Event, EventEmitter, EventReceiver, EventReceiverBuilder,
    Hello, Node, NodeBuilder, QueueInfo, Revoke, ScheduledTask, Service, TaskEvent, TaskInfo,
};
pub use tasks::{
    AsyncResult, Celery, Chain, Group, GroupResult, Routes, Signature, TaskError, TaskFailure, TaskState,
};
pub use worker::{Raise, Retry, SoftLimit, Task, TaskContext, Unhandled, Worker, WorkerBuilder};
