//! What the rest of the engine stands on: bytes in and out, who waits, when something is due.

pub(crate) mod chunk;
pub(crate) mod gathering;
pub(crate) mod heartbeat;
pub(crate) mod output;
pub(crate) mod waiters;
