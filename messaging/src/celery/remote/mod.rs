//! Celery's remote control and events.

pub(crate) mod client;
mod command;
pub(crate) mod control;
pub(crate) mod emitter;
pub(crate) mod event;
pub(crate) mod info;
pub(crate) mod node;
mod receiver;
pub(crate) mod service;
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
