//! The model of a client: it chooses its acts, and learns from what its broker sends.

mod handshake;
mod receiving;
#[allow(clippy::module_inception, reason = "the folder is named by its main file")]
pub(crate) mod session;
