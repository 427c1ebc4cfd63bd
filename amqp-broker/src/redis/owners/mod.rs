//! The holders of queues and consumers, in all processes, and whether they are still there.

mod consumers;
mod liveness;

pub(crate) use self::{
    consumers::{add_consumer, count_consumers, remove_consumers, renew_consumers},
    liveness::{LEASE_EVERY, gone, hold_lease, renew_lease},
};
