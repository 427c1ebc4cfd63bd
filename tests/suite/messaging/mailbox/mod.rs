//! kombu's mailbox: nodes, commands and replies.

mod nodes;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};
