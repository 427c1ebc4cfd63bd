//! Looking at what exchanges route, and recording it.

pub(crate) mod firehose;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod tap;
pub(crate) mod taps;
