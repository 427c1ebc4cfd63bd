//! The sessions of connections: frames in, operations on the virtual host, frames out. No sockets
//! here either.

pub(crate) mod alarm;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod farewell;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod holdings;
mod incoming;
mod names;
pub(crate) mod outbox;
pub(crate) mod paused;
pub(crate) mod pending_answers;
pub(crate) mod shared;
