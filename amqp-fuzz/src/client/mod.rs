//! The model of a client: what it does, knows and expects.

mod binding;
mod channel;
mod channels;
mod consuming;
mod declaring;
pub(crate) mod fault;
mod handshake;
pub(crate) mod options;
mod publishing;
mod receiving;
mod refusals;
pub(crate) mod session;
mod settling;
mod state;
pub(crate) mod step;
mod topology;
pub(crate) mod violations;
