//! The recovery of a lost connection.

pub(crate) mod connection_task;
pub(crate) mod holding;
pub(crate) mod redeclare;
pub(crate) mod restore;
