//! Why a backend refuses something.

use amqp_codec::ReplyCode;

/// Why a backend does not do what it is asked for.
///
/// All but [`Unavailable`](Self::Unavailable) are verdicts on one operation: the gateway closes the
/// channel that asked for it, and no other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The entity does not exist (404).
    #[error("{0}")]
    NotFound(String),
    /// The entity exists but differs, or its state does not allow this (406).
    #[error("{0}")]
    PreconditionFailed(String),
    /// The login at the backend does not include this (403).
    #[error("{0}")]
    AccessRefused(String),
    /// Another connection has the entity to itself (405).
    #[error("{0}")]
    Locked(String),
    /// The backend has nothing like it (540). The text names the feature.
    #[error("{0}")]
    NotImplemented(String),
    /// The backend cannot be reached, or has failed. The connection is closed (320), so that the
    /// client recovers as from a lost broker.
    #[error("{0}")]
    Unavailable(String),
}

impl BackendError {
    /// The reply code that the client gets.
    pub fn code(&self) -> ReplyCode {
        match self {
            BackendError::NotFound(_) => ReplyCode::NOT_FOUND,
            BackendError::PreconditionFailed(_) => ReplyCode::PRECONDITION_FAILED,
            BackendError::AccessRefused(_) => ReplyCode::ACCESS_REFUSED,
            BackendError::Locked(_) => ReplyCode::RESOURCE_LOCKED,
            BackendError::NotImplemented(_) => ReplyCode::NOT_IMPLEMENTED,
            BackendError::Unavailable(_) => ReplyCode::CONNECTION_FORCED,
        }
    }

    /// Tells whether the whole connection ends, and not only the channel that asked.
    pub fn closes_connection(&self) -> bool {
        matches!(self, BackendError::Unavailable(_))
    }
}
