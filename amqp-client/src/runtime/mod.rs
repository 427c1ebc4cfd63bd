//! What a connection does in the world: it dials, reads and writes, and shares its engine.

pub(crate) mod answers;
pub(crate) mod dial;
pub(crate) mod driver;
pub(crate) mod handles;
pub(crate) mod read_buffer;
pub(crate) mod secret;
pub(crate) mod shared;
pub(crate) mod trace;
pub(crate) mod waiting;
