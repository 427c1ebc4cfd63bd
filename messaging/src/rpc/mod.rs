//! Remote procedure calls, as oslo.messaging makes and serves them.

mod client;
mod dispatch;
mod endpoint;
mod failure;
mod server;
mod vanished;
pub(crate) mod wire;

pub use client::{Call, Client};
pub use endpoint::Endpoint;
pub use failure::Failure;
pub use server::{RunningServer, Server};
