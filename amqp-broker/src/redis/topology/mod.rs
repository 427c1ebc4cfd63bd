//! Exchanges, queues and bindings.

mod bindings;
mod declaring;
mod deleting;
mod exchanges;
mod fanouts;
mod kombu_exchanges;
mod members;
mod overdue;
mod owned;
mod queues;
mod renewal;
mod sweeping;
mod unused_exchanges;

pub(crate) use self::{
    bindings::{bind, unbind},
    declaring::declare_queue,
    deleting::{delete_left, delete_queue, leave_queue, purge_queue},
    exchanges::{declare_exchange, delete_exchange, find_exchange},
    overdue::sweep_bindings,
    owned::{check_access, check_known, delete_owned},
    queues::find_queue,
    renewal::renew,
    sweeping::sweep_queues,
};
