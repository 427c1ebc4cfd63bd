//! A version of RabbitMQ, from a flag or a file.

use std::str::FromStr;

use crate::core::rabbitmq::version::{RabbitMq, UnknownVersion};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A version, as text: a TOML number would lose the zero of 3.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RabbitMqVersion(pub(super) RabbitMq);

impl FromStr for RabbitMqVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        text.parse().map(RabbitMqVersion)
    }
}

impl<'de> Deserialize<'de> for RabbitMqVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_text_and_another_one_is_refused_with_those_that_there_are() {
        #[derive(Debug, Deserialize)]
        struct File {
            like: RabbitMqVersion,
        }
        let read = toml::from_str::<File>("like = \"3.10\"").unwrap();
        assert_eq!(read.like, RabbitMqVersion(RabbitMq::V3_10));
        let told = toml::from_str::<File>("like = \"4.1\"").unwrap_err().to_string();
        assert!(told.contains("the versions of RabbitMQ are 3.10, 4.0, 4.2 and 4.3"), "{told}");
        assert!(toml::from_str::<File>("like = 4.0").is_err());
    }
}
