//! Load on a broker: throughput and latencies.

pub(crate) mod bench;
pub(crate) mod compare;
mod live;
mod load_arguments;
mod report;
