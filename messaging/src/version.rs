//! Versions of interfaces and envelopes: `major.minor`, rarely with a revision.

use std::{fmt, str::FromStr};

/// A version of an endpoint, or the one that a client calls. A revision of 0 is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    major: u32,
    minor: u32,
    revision: u32,
}

impl Version {
    /// The version of a request or an endpoint that names none.
    pub const DEFAULT: Version = Version::new(1, 0);

    /// Returns the version `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Version { major, minor, revision: 0 }
    }

    /// Returns the version `major.minor.revision`.
    #[must_use]
    pub const fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self
    }

    /// Whether an implementation of this version understands `requested`: the major versions are
    /// the same, and the minor version (and the revision if the minor versions are the same) of
    /// `requested` is not later.
    #[must_use]
    pub fn supports(&self, requested: Version) -> bool {
        self.major == requested.major && (requested.minor, requested.revision) <= (self.minor, self.revision)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.revision == 0 { Ok(()) } else { write!(f, ".{}", self.revision) }
    }
}

/// The error for a text that is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version; expected major.minor or major.minor.revision")]
pub struct NotAVersion(String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let mut numbers = text.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), None, None) => Ok(Version::new(major, minor)),
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(revision)), None) => {
                Ok(Version::new(major, minor).revision(revision))
            }
            _ => Err(NotAVersion(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn a_version_supports_earlier_minors_and_revisions_of_its_major() {
        for (implemented, requested, supported) in [
            ("1.2", "1.0", true),
            ("1.2", "1.2", true),
            ("1.2", "1.3", false),
            ("1.2", "2.0", false),
            ("2.0", "1.0", false),
            ("1.2", "1.2.1", false),
            ("1.2.1", "1.2.1", true),
            ("1.2.1", "1.2", true),
            ("1.3", "1.2.9", true),
            ("2.0", "2.0.0", true),
        ] {
            assert_eq!(
                version(implemented).supports(version(requested)),
                supported,
                "{implemented} {requested}"
            );
        }
    }

    #[test]
    fn versions_are_written_as_they_are_read() {
        for text in ["1.0", "2.13", "1.2.3"] {
            assert_eq!(version(text).to_string(), text);
        }
        for text in ["", "1", "abc", "1.", "1.x", "-1.0", "1.2.3.4"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
