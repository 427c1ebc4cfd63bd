//! Tags of a user, from a flag or a file.

use crate::core::rabbitmq::access::tags::UserTag;
use serde::Deserialize;

use super::error::SettingsError;

/// Tags of a user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaggedUser {
    pub(super) user: String,
    tags: Vec<String>,
}

impl TaggedUser {
    /// The tags of flags, with two words each: the user, and the tags with commas between them.
    pub(super) fn from_words(words: &[String]) -> Vec<Self> {
        let tagged = words.as_chunks().0.iter().cloned().map(|[user, tags]| {
            let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
            TaggedUser { user, tags }
        });
        tagged.collect()
    }

    /// The tags as the broker takes them.
    ///
    /// # Errors
    /// When there is no such tag.
    pub(super) fn tags(&self) -> Result<Vec<UserTag>, SettingsError> {
        let bad = |why| SettingsError::BadTag { user: self.user.clone(), why };
        self.tags.iter().map(|tag| tag.parse().map_err(bad)).collect()
    }
}
