//! What all AMQP connections of a gateway share: the connections to Redis, and what arrives there.

mod arrivals;
mod buffer;
mod channels;
mod counts;
mod envelopes;
mod fanouts;
mod held;
mod leases;
mod loss;
mod reads;
mod recent;
mod shared;
mod tracked;
mod watches;

pub(crate) use self::{
    counts::Counts,
    leases::Leased,
    shared::{Hub, now_milliseconds, now_seconds, server_milliseconds},
};
