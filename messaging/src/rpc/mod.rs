//! Remote procedure calls, as oslo.messaging makes and serves them.

mod access;
mod acknowledge;
mod call;
mod client;
mod dispatch;
mod endpoint;
mod failure;
mod methods;
mod metrics;
mod replies;
mod request;
mod route;
mod server;
mod vanished;
pub(crate) mod wire;

pub use crate::{duplicates::RepeatWindow, service::Stopper};
pub use access::AccessPolicy;
pub use acknowledge::Acknowledge;
pub use call::Call;
pub use client::Client;
pub use endpoint::Endpoint;
pub use failure::Failure;
pub use methods::{Arguments, Methods, Output};
pub use metrics::{Metrics, ServerMetrics};
pub use server::{RunningServer, Server};
