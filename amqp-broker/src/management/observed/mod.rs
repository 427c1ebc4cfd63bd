//! Observing the broker, in turns between which clients continue.

pub(crate) mod connections;
pub(crate) mod process;
pub(crate) mod walk;
