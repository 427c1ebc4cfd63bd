//! Declaring, binding, deleting and purging.

pub(crate) mod bind;
pub(crate) mod declare;
pub(crate) mod declare_exchange;
pub(crate) mod declare_queue;
pub(crate) mod delete;
pub(crate) mod purge;
