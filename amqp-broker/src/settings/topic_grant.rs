//! Permissions of a user on the routing keys of an exchange, from a flag or a file.

use crate::core::rabbitmq::access::topics::TopicPermissions;
use serde::Deserialize;

use super::error::SettingsError;

/// Permissions of a user on the routing keys of an exchange in a virtual host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicGrant {
    pub(super) user: String,
    pub(super) vhost: String,
    pub(super) exchange: String,
    write: String,
    read: String,
}

impl TopicGrant {
    /// The permissions of flags, with five words each.
    pub(super) fn from_words(words: &[String]) -> Vec<Self> {
        let words = words.as_chunks().0.iter().cloned();
        words
            .map(|[user, vhost, exchange, write, read]| TopicGrant { user, vhost, exchange, write, read })
            .collect()
    }

    /// The permissions as the broker takes them.
    ///
    /// # Errors
    /// When one of them is not a regular expression.
    pub(super) fn permissions(&self) -> Result<TopicPermissions, SettingsError> {
        TopicPermissions::new(&self.write, &self.read).map_err(|why| SettingsError::BadTopicPattern {
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            exchange: self.exchange.clone(),
            why,
        })
    }
}
