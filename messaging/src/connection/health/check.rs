//! The check whether the broker answers.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{
    connection::{lazy_connection::LazyConnection, state::ConnectionState},
    error::Error,
};

/// Checks whether the broker answers over a connection.
pub(crate) async fn check(link: &LazyConnection, until: Instant, begun: Instant) -> Result<Duration, Error> {
    if let Ok(probed) = timeout_at(until, link.probe()).await {
        return probed;
    }
    match link.state() {
        ConnectionState::Recovering { reason, .. } => Err(Error::broker("reach the broker")(reason)),
        _ => Err(Error::Timeout {
            after: begun.elapsed(),
            during: "waiting for the broker to answer the health check",
        }),
    }
}

/// Does the same as [`check`], but a connection that is not in use passes.
pub(crate) async fn check_if_used(
    link: &LazyConnection,
    until: Instant,
    begun: Instant,
) -> Result<Duration, Error> {
    match link.state() {
        ConnectionState::Idle | ConnectionState::Closed => Ok(Duration::ZERO),
        _ => check(link, until, begun).await,
    }
}
