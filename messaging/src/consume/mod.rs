//! Consuming: messages are taken from a queue one by one, or passed to handlers.

pub(crate) mod bound_queue;
pub(crate) mod consumer;
pub(crate) mod consumer_builder;
pub(crate) mod handlers;
pub(crate) mod header;
pub(crate) mod service;
pub(crate) mod settle;
pub(crate) mod source;
pub(crate) mod subscription;
pub(crate) mod typed_consumer;
pub(crate) mod worker;
pub(crate) mod worker_builder;
pub(crate) mod worker_status;
