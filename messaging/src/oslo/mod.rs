//! What oslo.messaging provides: RPC and notifications, and their wire formats.

pub(crate) mod error;
pub(crate) mod notify;
pub(crate) mod rpc;
pub(crate) mod settings;
mod transport;
pub(crate) mod wire;
