//! A connection that was lost, and what comes back with it.

pub(crate) mod connection_task;
pub(crate) mod holding;
pub(crate) mod redeclare;
pub(crate) mod restore;
