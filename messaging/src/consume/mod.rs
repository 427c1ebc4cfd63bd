//! Messages out of a queue: taken one by one, or handled as they come.

pub(crate) mod bound_queue;
pub(crate) mod consumer;
pub(crate) mod consumer_builder;
pub(crate) mod handling;
pub(crate) mod header;
pub(crate) mod held;
pub(crate) mod inline_executor;
pub(crate) mod permits;
pub(crate) mod service;
pub(crate) mod settle;
pub(crate) mod source;
pub(crate) mod subscription;
pub(crate) mod typed_consumer;
pub(crate) mod worker;
pub(crate) mod worker_builder;
