//! An AMQP 0-9-1 broker inside a process, which any AMQP client takes for RabbitMQ: for tests, examples and small
//! deployments. Everything is in memory: what it holds ends with the process.

mod broker;
mod config;
mod core;
mod host;
mod instance;
mod memory;
mod server;
mod session;
#[cfg(test)]
mod tests;

pub use crate::core::vhost::QueueInfo;
pub use broker::{Broker, BrokerBuilder, Listener};
pub use memory::memory;
