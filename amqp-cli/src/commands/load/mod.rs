//! Load on a broker: throughput and latencies.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod latency;
mod live;
mod load_arguments;
mod report;
