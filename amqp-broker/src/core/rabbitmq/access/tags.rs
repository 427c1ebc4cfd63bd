//! Tags of users (<https://www.rabbitmq.com/docs/management#permissions>).

use std::{fmt, str::FromStr};

/// A tag of a user, which allows it more than its permissions in virtual hosts do. RabbitMQ also
/// has tags of an administrator's choice, which allow nothing; they do not exist here.
///
/// ```
/// use amqp_broker::UserTag;
///
/// assert_eq!("impersonator".parse(), Ok(UserTag::Impersonator));
/// assert_eq!(UserTag::Impersonator.to_string(), "impersonator");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum UserTag {
    /// `administrator`: over HTTP, does what the others do, and manages users, virtual hosts,
    /// permissions, operator policies and definitions, and closes connections of others.
    Administrator,
    /// `impersonator`: publishes messages whose `user-id` is not its own name
    /// (<https://www.rabbitmq.com/docs/validated-user-id>).
    Impersonator,
    /// `management`: over HTTP, works in the virtual hosts that the user's permissions open, and
    /// sees its own connections.
    Management,
    /// `monitoring`: over HTTP, sees all virtual hosts, all connections and the node.
    Monitoring,
    /// `policymaker`: over HTTP, manages policies in the virtual hosts that the user's permissions
    /// open.
    Policymaker,
}

/// A text that is no tag of users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no tag of users, which are administrator, impersonator, management, monitoring and policymaker"
)]
pub struct UnknownUserTag(String);

impl UserTag {
    const ALL: [UserTag; 5] = [
        UserTag::Administrator,
        UserTag::Impersonator,
        UserTag::Management,
        UserTag::Monitoring,
        UserTag::Policymaker,
    ];

    /// Returns the name that RabbitMQ has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            UserTag::Administrator => "administrator",
            UserTag::Impersonator => "impersonator",
            UserTag::Management => "management",
            UserTag::Monitoring => "monitoring",
            UserTag::Policymaker => "policymaker",
        }
    }
}

impl fmt::Display for UserTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for UserTag {
    type Err = UnknownUserTag;

    fn from_str(name: &str) -> Result<Self, UnknownUserTag> {
        let found = Self::ALL.into_iter().find(|tag| tag.name() == name);
        found.ok_or_else(|| UnknownUserTag(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_by_its_name_and_no_other_text_is_one() {
        for tag in UserTag::ALL {
            assert_eq!(tag.to_string().parse(), Ok(tag));
        }
        let error = "Impersonator".parse::<UserTag>().unwrap_err().to_string();
        assert!(
            error.starts_with("\"Impersonator\" is no tag of users, which are administrator,"),
            "{error}"
        );
    }
}
