//! Messages out of a queue: taken one by one, or handled as they come.

pub(crate) mod consumer;
pub(crate) mod handling;
pub(crate) mod header;
pub(crate) mod held;
pub(crate) mod service;
pub(crate) mod settle;
pub(crate) mod source;
pub(crate) mod turns;
pub(crate) mod typed_consumer;
pub(crate) mod work;
pub(crate) mod worker;
