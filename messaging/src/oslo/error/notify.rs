//! The errors of notifications that plain messages do not have.

/// An error of another library or of the user.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a notification was not emitted, or a notifier or listener cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// No driver has this name.
    #[error("there is no notification driver {0:?}")]
    UnknownDriver(String),
    /// There is no such level; the levels are audit, debug, info, warn, error, critical and sample.
    #[error("there is no notification level {0:?}")]
    UnknownLevel(String),
    /// A pattern of a filter or a rule is invalid.
    #[error("the pattern {pattern:?} is invalid")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The cause.
        source: BoxError,
    },
    /// The routing rules are invalid.
    #[error("the routing rules are invalid")]
    Rules(#[source] BoxError),
    /// A driver failed.
    #[error("the notification driver {driver:?} failed")]
    Driver {
        /// The driver's name.
        driver: String,
        /// The cause.
        source: BoxError,
    },
    /// The buffer has no room: the notification is not emitted.
    #[error(
        "the buffer is full, with {notifications} notifications of {bytes} bytes in all; this one is not emitted"
    )]
    Full {
        /// The number of notifications that wait.
        notifications: usize,
        /// Their size together in bytes.
        bytes: usize,
    },
    /// A buffer gave up a notification to make room for a later one.
    #[error("the notification was dropped from a full buffer to make room for a later one")]
    Displaced,
    /// A feature of this crate is off.
    #[error("{what} are not in this build: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// What needs the feature.
        what: &'static str,
        /// The feature that turns it on.
        feature: &'static str,
    },
    /// The files of a buffer cannot be used.
    #[error("the files of the buffer cannot be used")]
    Files(#[source] BoxError),
    /// The deadline passed before all buffered notifications were emitted.
    #[error("the deadline passed before the buffer was empty: {left} notifications are left")]
    Unflushed {
        /// The number of notifications that are left.
        left: usize,
    },
}
