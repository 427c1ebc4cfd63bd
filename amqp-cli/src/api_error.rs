//! Why a management API does not tell what it is asked.

use std::{io, time::Duration};

use amqp_client::TlsError;

/// Why a management API does not tell what it is asked. No password is in its text; words of the
/// API may be, which are escaped where they are printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody listens there.
    #[error("it cannot be reached")]
    Unreachable(#[source] io::Error),
    /// TLS failed: a file of certificates, or the handshake.
    #[error("it cannot be reached over TLS")]
    Tls(#[source] TlsError),
    /// The answer takes too long.
    #[error("it does not answer within {0:?}")]
    Late(Duration),
    /// What answers speaks another protocol, or the connection was lost.
    #[error("it does not speak HTTP")]
    NoHttp(#[source] hyper::Error),
    /// There is HTTP, but not this API.
    #[error("{path} is not there")]
    Missing { path: String },
    /// The login is wrong, or it lacks a tag.
    #[error("{path}: 401 Unauthorized{}", reason_of(reason))]
    Refused { path: String, reason: String },
    /// The answer is another error.
    #[error("{path}: {status}{}", reason_of(reason))]
    Status { path: String, status: hyper::StatusCode, reason: String },
    /// The answer is larger than this program reads.
    #[error("{path}: the answer is over {most} bytes")]
    TooLarge { path: String, most: usize },
    /// The answer is not the JSON that was asked for.
    #[error("{path}: the answer has another form than RabbitMQ's")]
    Form { path: String, source: serde_json::Error },
    /// A virtual host does not exist, or the user has no part in it.
    #[error("there is no virtual host {0:?}, or this user may not see it")]
    NoVhost(String),
}

fn reason_of(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl ApiError {
    /// Tells whether there is no management API at all.
    pub(crate) fn is_absence(&self) -> bool {
        use ApiError::{Form, Late, Missing, NoHttp, NoVhost, Refused, Status, Tls, TooLarge, Unreachable};
        match self {
            Unreachable(_) | Late(_) | NoHttp(_) | Missing { .. } => true,
            Tls(TlsError::NotTls(_) | TlsError::Handshake(_)) => true,
            Tls(_) | Refused { .. } | Status { .. } | TooLarge { .. } | Form { .. } | NoVhost(_) => false,
        }
    }

    /// Returns what a user can do about it, in brackets.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            absent if absent.is_absence() => {
                " (RabbitMQ has one with its plugin rabbitmq_management, `amqp serve` with --http \
                 HOST:PORT; --management URL says where it is)"
            }
            ApiError::Refused { .. } => {
                " (the login must be right, and its user have the tag monitoring or administrator)"
            }
            _ => "",
        }
    }
}
