//! What goes wrong with notifications beside what goes wrong with messages.

/// What somebody else has to say.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a notification is not emitted, or a notifier or listener cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// No driver has this name.
    #[error("there is no notification driver {0:?}")]
    UnknownDriver(String),
    /// There are the levels audit, debug, info, warn, error, critical and sample.
    #[error("there is no level {0:?}")]
    UnknownLevel(String),
    /// A pattern of a filter or a rule cannot be read.
    #[error("the pattern {pattern:?} cannot be read")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: BoxError,
    },
    /// Routing rules cannot be read.
    #[error("routing rules cannot be read")]
    Rules(#[source] BoxError),
    /// A driver failed.
    #[error("the notification driver {driver:?} failed")]
    Driver {
        /// Its name.
        driver: String,
        /// Why.
        source: BoxError,
    },
    /// A buffer has no room: the notification is not emitted.
    #[error("the buffer has no room, with {notifications} notifications of {bytes} bytes waiting")]
    Full {
        /// How many wait.
        notifications: usize,
        /// How large they are together.
        bytes: usize,
    },
    /// A buffer gave a notification up to have room for a later one.
    #[error("the notification made room in a full buffer for a later one")]
    Displaced,
    /// A feature of this crate is off.
    #[error("{what} are not in this build: feature `{feature}` of `messaging` is off")]
    NotCompiled {
        /// What is asked for.
        what: &'static str,
        /// The feature that turns it on.
        feature: &'static str,
    },
    /// The files of a buffer cannot be used.
    #[error("the files of a buffer cannot be used")]
    Files(#[source] BoxError),
    /// The deadline came before all that was buffered had been emitted.
    #[error("{left} notifications are still to be emitted")]
    Unflushed {
        /// How many.
        left: usize,
    },
}
