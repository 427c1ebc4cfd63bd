//! The levels of notifications.

use std::{fmt, str::FromStr};

use crate::oslo::error::notify::NotifyError;

/// The importance of a notification, or its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A record for audits.
    Audit,
    /// Details for debugging.
    Debug,
    /// A normal event.
    Info,
    /// An unusual event.
    Warn,
    /// A failure.
    Error,
    /// A failure that endangers the service.
    Critical,
    /// A measurement.
    Sample,
}

impl Level {
    /// All levels.
    pub const ALL: [Level; 7] =
        [Level::Audit, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical, Level::Sample];

    /// Returns the name in routing keys and queue names: `info`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Audit => "audit",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Sample => "sample",
        }
    }

    /// Returns the name in the message: `INFO`.
    pub(crate) const fn priority(self) -> &'static str {
        match self {
            Level::Audit => "AUDIT",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
            Level::Sample => "SAMPLE",
        }
    }

    /// Parses the name in the message, in upper or lower case.
    pub(crate) fn from_priority(priority: &str) -> Option<Self> {
        Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(priority))
    }

    /// Returns the name of a topic's queue for this level, which is also the routing key.
    pub(crate) fn queue_of(self, topic: &str) -> String {
        format!("{topic}.{self}")
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parses the name, in upper or lower case; `warning` is `warn`, as for Python's notifiers.
impl FromStr for Level {
    type Err = NotifyError;

    fn from_str(name: &str) -> Result<Self, NotifyError> {
        let level =
            if name.eq_ignore_ascii_case("warning") { Some(Level::Warn) } else { Level::from_priority(name) };
        level.ok_or_else(|| NotifyError::UnknownLevel(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_known_by_its_name_in_any_case_and_by_nothing_else() {
        for level in Level::ALL {
            assert_eq!(level.name().parse::<Level>().unwrap(), level);
            assert_eq!(level.priority().parse::<Level>().unwrap(), level);
        }
        assert_eq!("Warning".parse::<Level>().unwrap(), Level::Warn);
        assert!(matches!("loud".parse::<Level>(), Err(NotifyError::UnknownLevel(name)) if name == "loud"));
        // Python's listeners do not accept it either.
        assert_eq!(Level::from_priority("WARNING"), None);
    }
}
