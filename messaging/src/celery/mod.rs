//! Celery: tasks for its workers and their results; remote control and events: a client for `celery
//! inspect` and `celery control`, and a node that Celery's own tools find beside its workers.
//!
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
