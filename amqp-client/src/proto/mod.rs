//! The protocol engine. Its inputs are bytes, calls and the time; its outputs are bytes, wakers and
//! deadlines. It has no socket, clock or runtime.
//!
//! The whole state of a connection is in one [`Engine`](connection::Engine) behind one mutex. A
//! handle locks it, writes its frames straight into the outgoing buffer and unlocks; the driver
//! swaps that buffer for an empty one and writes it.

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
