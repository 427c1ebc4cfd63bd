//! Tasks of Celery: they are sent to its workers, and their results are waited for.

mod app;
mod async_result;
mod chain;
mod group;
mod message;
mod repr;
mod results;
mod route;
mod send;
mod signature;
mod state;

pub use app::Celery;
pub use async_result::AsyncResult;
pub use chain::Chain;
pub use group::{Group, GroupResult};
pub use route::Routes;
pub use signature::Signature;
pub use state::{TaskError, TaskFailure, TaskState};
