//! A worker that runs tasks of Celery.

mod builder;
mod consumers;
mod events;
mod follow;
mod handle;
mod in_hand;
mod node;
mod outcome;
mod revoked;
mod runner;
mod slots;
mod store;
mod task;
mod worker;

pub use builder::{Unhandled, WorkerBuilder};
pub use task::{
    context::{SoftLimit, TaskContext},
    definition::Task,
    raise::{Raise, Retry},
};
pub use worker::Worker;
