//! What oslo.messaging provides: RPC and notifications, and their wire formats.

pub(crate) mod error;
pub mod notify;
pub(crate) mod reply_queue;
pub mod rpc;
pub(crate) mod traffic;
mod transport;
pub(crate) mod wire;
