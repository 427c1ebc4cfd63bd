//! The broker over HTTP.

mod access;
mod client;
#[cfg(feature = "durable")]
mod kept;
mod metrics;
mod topology;
mod vhosts;
