//! Permissions of a user in a virtual host, from a flag or a file.

use crate::core::rabbitmq::access::Permissions;
use serde::Deserialize;

use super::error::SettingsError;

/// Permissions of a user in a virtual host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) vhost: String,
    configure: String,
    write: String,
    read: String,
}

impl Grant {
    /// The permissions of flags, with five words each.
    pub(super) fn from_words(words: &[String]) -> Vec<Self> {
        let words = words.as_chunks().0.iter().cloned();
        words
            .map(|[user, vhost, configure, write, read]| Grant { user, vhost, configure, write, read })
            .collect()
    }

    /// The permissions as the broker takes them.
    ///
    /// # Errors
    /// When one of them is not a regular expression.
    pub(super) fn permissions(&self) -> Result<Permissions, SettingsError> {
        let Grant { user, vhost, configure, write, read } = self;
        let bad = |why| SettingsError::BadPattern { user: user.clone(), vhost: vhost.clone(), why };
        Permissions::new(configure, write, read).map_err(bad)
    }
}
