//! Entities as RabbitMQ's management API shows them.

pub(crate) mod binding;
pub(crate) mod client;
pub(crate) mod exchange;
pub(crate) mod history;
pub(crate) mod message;
pub(crate) mod queue;
pub(crate) mod stats;
pub(crate) mod user;
