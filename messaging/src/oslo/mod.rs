//! What oslo.messaging has: RPC and notifications, and how both look on the wire.

pub(crate) mod error;
pub mod notify;
pub(crate) mod reply_queue;
pub mod rpc;
pub(crate) mod traffic;
mod transport;
pub(crate) mod wire;
