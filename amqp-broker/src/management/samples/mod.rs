//! Samples of what is counted, from which rates follow.

pub(crate) mod counts;
pub(crate) mod sampler;
