//! Tasks of Celery: they are sent to its workers, and their results are waited for.

pub(crate) mod app;
mod async_result;
mod chain;
mod group;
pub(crate) mod message;
pub(crate) mod repr;
mod results;
mod route;
mod send;
pub(crate) mod signature;
pub(crate) mod state;

pub use app::Celery;
pub use async_result::AsyncResult;
pub use chain::Chain;
pub use group::{Group, GroupResult};
pub use route::Routes;
pub use signature::Signature;
pub use state::{TaskError, TaskFailure, TaskState};
