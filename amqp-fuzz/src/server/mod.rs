//! The model of a broker, to find faults in clients.

pub(crate) mod answers;
mod channel;
#[allow(clippy::module_inception, reason = "the folder is named by its main file")]
pub(crate) mod server;
