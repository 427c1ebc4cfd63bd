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
    on_every_broker_and_redis, on_tcp_brokers,
};
use crate::log::Log;
