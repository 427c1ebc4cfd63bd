//! The levels of notifications.

use std::{fmt, str::FromStr};

use crate::oslo::error::notify::NotifyError;

/// How much a notification matters, and what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// For the record.
    Audit,
    /// For who looks for an error.
    Debug,
    /// Something happened as it should.
    Info,
    /// Something is unusual.
    Warn,
    /// Something failed.
    Error,
    /// The service is in danger.
    Critical,
    /// A measurement.
    Sample,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 7] =
        [Level::Audit, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical, Level::Sample];

    /// As in routing keys and queue names: `info`.
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

    /// As in the message: `INFO`.
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

    /// In any case of its letters.
    pub(crate) fn from_priority(priority: &str) -> Option<Self> {
        Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(priority))
    }

    /// The queue of a topic for this level, which is the routing key too.
    pub(crate) fn queue_of(self, topic: &str) -> String {
        format!("{topic}.{self}")
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By its name, in any case of its letters; `warning` is `warn`, as for Python's notifiers.
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
        // A listener takes what Python's takes.
        assert_eq!(Level::from_priority("WARNING"), None);
    }
}
