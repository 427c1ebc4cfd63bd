//! The client as its users use it, on every broker there is: the same tests against the embedded
//! broker over TCP and in memory, and against RabbitMQ.

mod alarm;
mod bad_input;
mod channel;
mod connect;
mod consume;
mod dropped;
mod fixture;
mod lost;
mod publish;
mod tls;
mod topology;

use super::every_broker::{on_every_broker, on_tcp_brokers};
