//! Incoming notifications: one by one, or in batches.

pub(crate) mod batch;
pub(crate) mod batch_listener;
pub(crate) mod deduplication;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod listener;
pub(crate) mod sources;
