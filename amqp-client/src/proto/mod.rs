//! The protocol engine: bytes, calls and the time in; bytes, wakes and deadlines out. No socket, no
//! clock, no runtime.
//!
//! Everything of a connection lives in one [`Engine`](connection::Engine) behind one mutex. A
//! handle locks it, writes its frames straight into the outgoing buffer and unlocks; the driver
//! swaps that buffer out whole and writes it.

pub(crate) mod calls;
pub(crate) mod channel;
pub(crate) mod channel_ref;
pub(crate) mod connection;
pub(crate) mod consuming;
pub(crate) mod expects;
pub(crate) mod ground;
pub(crate) mod handshake;
pub(crate) mod link;
pub(crate) mod publishing;
pub(crate) mod registry;
pub(crate) mod status;
pub(crate) mod transaction;
