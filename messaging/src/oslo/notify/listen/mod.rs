//! Incoming notifications: one by one, or in batches.

pub(super) mod batch;
pub(super) mod batch_listener;
pub(super) mod deduplication;
pub(super) mod endpoint;
pub(super) mod event;
pub(super) mod filter;
pub(super) mod listener;
pub(super) mod sources;
