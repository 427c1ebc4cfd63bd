//! The log lines about connections: one when a connection opens, one when it closes, and one when
//! it fails before that. Each has the addresses of both ends, as RabbitMQ names connections.

use std::fmt::Display;
#[cfg(feature = "tls")]
use std::io;

use tokio::time::Instant;

use super::clients::{Client, Login};
#[cfg(feature = "tls")]
use super::tls_error::handshake_words;
use crate::{backend::BackendError, session::handshake::Refused, shown::shown};

/// Logs a failed TLS handshake.
#[cfg(feature = "tls")]
pub(crate) fn no_tls(connection: &str, error: &io::Error) {
    match error.kind() {
        // The client closed the stream: this is logged at the level of other silent ends.
        io::ErrorKind::UnexpectedEof => {
            tracing::debug!(connection, why = "the client disconnected", "TLS handshake failed");
        }
        _ => tracing::info!(connection, why = shown(handshake_words(error)), "TLS handshake failed"),
    }
}

/// Logs a client that was refused.
pub(crate) fn refused(connection: &str, why: &Refused) {
    match why {
        Refused::Login { user } | Refused::Far { user } => {
            tracing::warn!(connection, user = shown(user), why = shown(why), "login refused");
        }
        // Monitoring that checks whether a port is open connects like this all the time.
        Refused::Silent => tracing::debug!(connection, why = shown(why), "connection not opened"),
        Refused::Protocol(_) | Refused::Closed(_) | Refused::Malformed(_) | Refused::Left => {
            tracing::info!(connection, why = shown(why), "connection not opened");
        }
    }
}

/// Logs a client whose virtual host's backend could not be opened.
pub(crate) fn not_opened(connection: &str, error: &BackendError) {
    tracing::warn!(connection, why = shown(error.to_string()), "connection not opened");
}

/// Logs a client that did not log in in time.
pub(crate) fn too_late(connection: &str) {
    tracing::info!(connection, why = "the client did not log in in time", "connection not opened");
}

/// Logs a connection that opened.
pub(crate) fn opened(client: &Client) {
    let Some(Login { user, vhost, client_name, .. }) = client.login() else { return };
    tracing::info!(
        connection = client.name,
        user = shown(user),
        vhost = shown(vhost),
        name = client_name.as_ref().map(shown),
        "connection opened"
    );
}

/// Logs a connection that closed, with its duration.
pub(crate) fn closed(client: &Client, since: Instant, why: impl Display) {
    let Some(Login { user, vhost, .. }) = client.login() else { return };
    let seconds = since.elapsed().as_millis() as f64 / 1000.0;
    tracing::info!(
        connection = client.name,
        user = shown(user),
        vhost = shown(vhost),
        seconds,
        why = shown(why),
        "connection closed"
    );
}
