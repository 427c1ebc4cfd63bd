//! What a connection does at run time: reading and writing, sharing the engine, and waiting for it.

pub(crate) mod answers;
pub(crate) mod backoff;
pub(crate) mod driver;
pub(crate) mod handles;
pub(crate) mod read_buffer;
pub(crate) mod resubscribe;
#[cfg(all(test, shuttle))]
mod schedules;
pub(crate) mod secret;
pub(crate) mod shared;
pub(crate) mod trace;
pub(crate) mod waiting;
