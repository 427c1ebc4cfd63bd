//! Calls that wait for their replies.

pub(crate) mod metrics;
pub(crate) mod reply_queue;
mod unopened;
