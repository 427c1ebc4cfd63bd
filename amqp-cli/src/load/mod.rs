//! Load on a broker, and what is measured of it.

pub(crate) mod bodies;
pub(crate) mod clock;
pub(crate) mod consumer;
pub(crate) mod counters;
pub(crate) mod distribution;
pub(crate) mod kinds;
pub(crate) mod measured;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod publisher;
pub(crate) mod queues;
pub(crate) mod run;
pub(crate) mod threads;
pub(crate) mod timer;
