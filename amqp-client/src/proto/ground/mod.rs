//! The base of the engine: bytes in and out, waiters and timers.

pub(crate) mod chunk;
pub(crate) mod gathering;
pub(crate) mod heartbeat;
pub(crate) mod output;
pub(crate) mod waiters;
