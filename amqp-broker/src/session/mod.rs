//! The sessions of connections: frames come in, operations are done on the virtual host, frames go
//! out. There are no sockets here either.

pub(crate) mod alarm;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod farewell;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod holdings;
mod incoming;
pub(crate) mod names;
pub(crate) mod outbox;
pub(crate) mod paused;
pub(crate) mod pending_answers;
pub(crate) mod shared;
