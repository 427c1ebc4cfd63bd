//! What a client is told, and what it knows.

pub(crate) mod channel;
pub(crate) mod fault;
pub(crate) mod options;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod topology;
