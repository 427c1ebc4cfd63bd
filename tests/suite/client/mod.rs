//! The client as its users use it: the same tests on the embedded broker over TCP and in memory,
//! and on RabbitMQ.

mod alarm;
mod bad_input;
mod channel;
mod connect;
mod consume;
mod dropped;
mod fixture;
mod lost;
mod lost_confirms;
mod prefetch;
mod publish;
mod tls;
mod topology;

use super::every_broker::{on_every_broker, on_tcp_brokers};
