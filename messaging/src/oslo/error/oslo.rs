//! The errors of RPC and notifications that plain messages do not have.

use crate::{
    oslo::error::{notify::NotifyError, remote::RemoteError},
    version::Version,
};

/// An error of another library or of the user.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a call, a cast or a notification failed, if not because of a message. It is
/// wrapped in [`Error::Oslo`](crate::Error::Oslo).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OsloError {
    /// An [`EntitySerializer`](crate::EntitySerializer) refuses an argument, a result or a context.
    #[error("the entity serializer refuses {what}")]
    Entity {
        /// What was passed to it.
        what: &'static str,
        /// The cause.
        source: BoxError,
    },
    /// The arguments of a remote method have to be a struct or a map with text keys.
    #[error("the arguments of method {method:?} are not a JSON object")]
    Arguments {
        /// The method.
        method: String,
    },
    /// No server has such a method.
    #[error("the server has no method {method:?}")]
    NoSuchMethod {
        /// The method that was called.
        method: String,
    },
    /// No server supports this namespace and version.
    #[error("the server does not support version {version} of method {method:?}")]
    UnsupportedVersion {
        /// The method that was called.
        method: String,
        /// The version it was called in.
        version: String,
    },
    /// The client may not call this version: its cap does not cover it. Nothing was sent.
    #[error("the client's version cap {cap} does not cover {}", .version.map_or("a call without a version".to_owned(), |v| format!("version {v}")))]
    VersionCap {
        /// The version that was to be called.
        version: Option<Version>,
        /// The latest version that may be called.
        cap: Version,
    },
    /// A notification could not be emitted, or a notifier or listener could not be made.
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// The method ran and failed.
    #[error(transparent)]
    Remote(Box<RemoteError>),
}

impl OsloError {
    /// Whether it would fail in the same way again.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, OsloError::VersionCap { .. } | OsloError::Arguments { .. })
    }

    /// Returns the name of the class of failures in traces and metrics.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn class(&self) -> &'static str {
        match self {
            OsloError::Entity { .. } => "entity_serializer",
            OsloError::Arguments { .. } => "encode",
            OsloError::NoSuchMethod { .. } => "no_such_method",
            OsloError::UnsupportedVersion { .. } => "unsupported_version",
            OsloError::VersionCap { .. } => "version_cap",
            OsloError::Notify(_) => "notify",
            OsloError::Remote(_) => "remote_error",
        }
    }
}
