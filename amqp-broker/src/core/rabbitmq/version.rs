//! The versions of RabbitMQ that a broker can play, by name.

use std::{fmt, str::FromStr};

use super::profile::{Profile, V3_10, V4_0, V4_2, V4_3};

/// A version of RabbitMQ. A broker like it announces its patch and follows it where versions
/// differ; see the table in the [documentation of the crate](crate#like-which-rabbitmq).
///
/// ```
/// use amqp_broker::{Broker, RabbitMq};
///
/// let broker = Broker::builder().like(RabbitMq::V4_3).build();
/// assert_eq!("4.3".parse(), Ok(RabbitMq::V4_3));
/// # drop(broker);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RabbitMq {
    /// RabbitMQ 3.10.8.
    #[default]
    V3_10,
    /// RabbitMQ 4.0.9.
    V4_0,
    /// RabbitMQ 4.2.9.
    V4_2,
    /// RabbitMQ 4.3.6.
    V4_3,
}

/// A text that names no version of [`RabbitMq`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the versions of RabbitMQ are 3.10, 4.0, 4.2 and 4.3")]
pub struct UnknownVersion;

impl RabbitMq {
    /// All versions, the oldest first.
    pub const ALL: [Self; 4] = [Self::V3_10, Self::V4_0, Self::V4_2, Self::V4_3];

    /// The patch that a broker like this version follows and announces, such as `3.10.8`.
    #[must_use]
    pub fn patch(self) -> &'static str {
        self.profile().patch
    }

    /// Returns the facts of this version.
    pub(crate) const fn profile(self) -> &'static Profile {
        match self {
            RabbitMq::V3_10 => &V3_10,
            RabbitMq::V4_0 => &V4_0,
            RabbitMq::V4_2 => &V4_2,
            RabbitMq::V4_3 => &V4_3,
        }
    }
}

/// Major and minor number, such as `3.10`.
impl fmt::Display for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RabbitMq::V3_10 => "3.10",
            RabbitMq::V4_0 => "4.0",
            RabbitMq::V4_2 => "4.2",
            RabbitMq::V4_3 => "4.3",
        })
    }
}

/// Reads what `Display` shows.
impl FromStr for RabbitMq {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|version| version.to_string() == text).ok_or(UnknownVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_shown_and_its_patch_belongs_to_it() {
        for version in RabbitMq::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
            assert!(version.patch().starts_with(&format!("{version}.")), "{version}");
        }
        for unknown in ["", "4", "4.1", "3.10.8", " 4.0"] {
            let error = unknown.parse::<RabbitMq>().unwrap_err();
            assert_eq!(error.to_string(), "the versions of RabbitMQ are 3.10, 4.0, 4.2 and 4.3");
        }
    }
}
