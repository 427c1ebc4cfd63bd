//! Requests, replies and failures, here and on the wire.

pub(crate) mod failure;
pub(crate) mod field;
pub(crate) mod wire;
