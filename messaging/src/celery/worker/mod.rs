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
mod running;
mod slots;
mod store;
mod task;

pub use builder::{Unhandled, WorkerBuilder};
pub use running::Worker;
pub use task::{
    context::{SoftLimit, TaskContext},
    definition::Task,
    raise::{Raise, Retry},
};
