//! Producers, consumers, RPC and notifications as their users use them: the same tests in memory,
//! on the embedded broker over TCP, and on RabbitMQ.

mod compressions;
mod connections;
mod consume;
pub(crate) mod example;
mod faults;
mod fixture;
mod left_connections;
mod log;
mod mailbox;
mod mailbox_programs;
mod notify;
mod notify_batch;
mod notify_buffer;
mod notify_drivers;
mod notify_failures;
mod notify_programs;
mod options;
mod other_words;
mod produce;
mod programs;
mod publish_all;
mod quickstart;
mod redis;
mod refused;
mod rpc;
mod rpc_client;
mod rpc_conflicts;
mod rpc_fanout;
mod rpc_hooks;
mod rpc_pains;
mod rpc_programs;
mod rpc_server;
mod rpc_topology;
mod rpc_wire;
mod set_aside;
mod slow_keys;
mod subscriptions;
mod traces;
mod traffic;
mod transport;
mod unanswered;
mod weights;
mod worker;

use super::every_broker::{on_every_broker_and_redis, on_tcp_brokers};
