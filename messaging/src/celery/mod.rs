//! Celery's remote control and events: a client for `celery inspect` and `celery control`, and a
//! node that Celery's own tools find beside its workers.
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

mod client;
mod command;
mod control;
mod emitter;
mod event;
mod info;
mod node;
mod receiver;
mod service;
mod transport;

pub use client::{Consume, Revoke};
pub use command::{Answers, CeleryCommand};
pub use control::Control;
pub use emitter::EventEmitter;
pub use event::{Event, TaskEvent};
pub use info::{Hello, QueueInfo, ScheduledTask, TaskInfo};
pub use node::{Node, NodeBuilder};
pub use receiver::{EventReceiver, EventReceiverBuilder};
pub use service::Service;
