//! kombu's mailbox: nodes, commands and replies.

mod answers;
mod calls;
mod fixture;
mod lost;
mod names;
mod nodes;
mod replies;
mod requests;
mod settings;

use super::{
    fixture::{Broker, DEADLINE, within},
    log::Log,
    on_every_broker_and_redis, on_tcp_brokers,
};
