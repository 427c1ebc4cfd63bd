//! The backend: links, and what runs beside them.

mod backend;
mod link;
mod metrics;
mod orphans;
mod shared;
mod tasks;
mod waiting;

pub use self::{backend::Redis, link::RedisLink, metrics::RedisMetrics};
