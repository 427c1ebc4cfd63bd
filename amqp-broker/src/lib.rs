//! An AMQP 0-9-1 broker inside a process, which any AMQP client takes for RabbitMQ: for tests, examples and small
//! deployments. **Everything is in memory: what it holds ends with the process**, durable queues and persistent messages
//! included.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let broker = amqp_broker::Broker::builder().user("guest", "guest").vhost("/").build();
//! let listener = broker.listen("127.0.0.1:0").await?;     // any AMQP client, over TCP
//! let stream = broker.connect();                          // a client of this process, over a stream in memory
//! # drop((listener, stream));
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What it does
//! Direct, fanout, topic and headers exchanges, bound to queues and to each other, alternate and internal ones; queues that
//! are exclusive, auto-delete, named by the broker, with priorities, a single active consumer, a maximum length, and with
//! messages and queues that expire; prefetch for each consumer and for a channel, consumer priorities and cancel
//! notifications; confirms, returns, transactions; `CC` and `BCC`. Codes and texts of errors are those of RabbitMQ 3.10.
//!
//! # What it does not do yet
//! Dead-letter exchanges are accepted and checked, but what is dropped is dropped. A quorum queue is a classic one; streams
//! are refused with 540. There is no direct reply-to and no consumer timeout.
//!
//! # Memory
//! A connection that does not read what is sent to it holds at most 2 MiB and one message of deliveries; the rest waits in
//! the queues. One that does not read the answers to what it asks for is not read from beyond 8 MiB of them. A message is
//! stored once however many queues it is in. What queues hold is bounded by their `x-max-length` and
//! `x-max-length-bytes` alone: a publisher faster than all consumers fills the memory.

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

pub use crate::core::{
    access::{InvalidPattern, Permissions},
    vhost::QueueInfo,
};
pub use broker::{Broker, BrokerBuilder, Listener};
pub use memory::memory;
