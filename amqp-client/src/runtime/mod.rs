//! What a connection does in the world: it reads and writes, shares its engine, and waits for it.

pub(crate) mod answers;
pub(crate) mod backoff;
pub(crate) mod driver;
pub(crate) mod handles;
pub(crate) mod read_buffer;
pub(crate) mod resubscribe;
pub(crate) mod secret;
pub(crate) mod shared;
pub(crate) mod trace;
pub(crate) mod waiting;
