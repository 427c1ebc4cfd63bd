//! Exchanges, queues and bindings.

mod bindings;
mod exchanges;
mod fanouts;
mod members;
mod queues;
mod renewal;

pub(crate) use self::{
    bindings::{bind, unbind},
    exchanges::{declare_exchange, delete_exchange, find_exchange},
    queues::{declare_queue, delete_queue, find_queue, leave_queue, purge_queue},
    renewal::renew,
};
