//! The broker over HTTP.

mod access;
mod client;
mod metrics;
mod topology;
mod vhosts;
