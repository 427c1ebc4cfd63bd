//! Who a client is and what it may do in a virtual host
//! (<https://www.rabbitmq.com/access-control.html>).

pub(crate) mod pattern;
pub(crate) mod tags;
pub(crate) mod tally;
pub(crate) mod topics;

use std::collections::BTreeSet;

use self::{
    pattern::{InvalidPattern, Pattern},
    tags::UserTag,
    topics::{TopicAccess, Topics},
};

/// A user's permissions in one virtual host. There is one regular expression each for the names
/// that may be configured (declared and deleted), written (published to, bound) and read (consumed,
/// fetched, purged, bound from).
///
/// As in RabbitMQ, an expression matches anywhere in a name unless `^` and `$` anchor it, the empty
/// one matches the empty name only, and the default exchange goes by the name `amq.default`.
///
/// ```
/// use amqp_broker::Permissions;
///
/// let permissions = Permissions::new("^orders-", "^orders-|^amq\\.default$", ".*")?;
/// # Ok::<(), amqp_broker::InvalidPattern>(())
/// ```
#[derive(Clone, Debug)]
pub struct Permissions {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

impl Permissions {
    /// Takes three regular expressions, in the order of `rabbitmqctl set_permissions`.
    ///
    /// # Errors
    /// When one of them is not a regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, InvalidPattern> {
        Ok(Permissions {
            configure: Pattern::parse(configure)?,
            write: Pattern::parse(write)?,
            read: Pattern::parse(read)?,
        })
    }

    /// Permissions for everything.
    pub(crate) fn all() -> Self {
        Permissions { configure: Pattern::All, write: Pattern::All, read: Pattern::All }
    }

    /// The regular expressions, in the order of [`new`](Self::new).
    #[cfg(feature = "management")]
    pub(crate) fn texts(&self) -> [&str; 3] {
        [self.configure.text(), self.write.text(), self.read.text()]
    }

    /// Permissions for nothing.
    pub(crate) fn none() -> Self {
        Permissions { configure: Pattern::None, write: Pattern::None, read: Pattern::None }
    }
}

/// What a client does to a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Configure,
    Write,
    Read,
}

impl Act {
    /// Its name before the word "access" in a refusal that names one.
    pub(super) const fn before_access(named: Option<Self>) -> &'static str {
        match named {
            None => "",
            Some(Act::Configure) => "configure ",
            Some(Act::Write) => "write ",
            Some(Act::Read) => "read ",
        }
    }
}

/// The user of a connection, and what the user may do.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) user: String,
    /// `None` when everything is allowed.
    pub(crate) permissions: Option<Permissions>,
    /// The permissions on routing keys; mostly there are none.
    pub(crate) topics: Topics,
    pub(crate) tags: BTreeSet<UserTag>,
}

impl Access {
    /// That of a user without tags who may do everything.
    #[cfg(test)]
    pub(crate) fn unlimited(user: &str) -> Self {
        Access { user: user.to_owned(), permissions: None, topics: Topics::new(), tags: BTreeSet::new() }
    }

    /// Tells whether the act is allowed on the entity of this name.
    pub(crate) fn allows(&self, act: Act, name: &[u8]) -> bool {
        self.permissions.as_ref().is_none_or(|permissions| {
            let names = match act {
                Act::Configure => &permissions.configure,
                Act::Write => &permissions.write,
                Act::Read => &permissions.read,
            };
            names.has(name)
        })
    }

    /// Tells whether the act is allowed with this routing key on the topic exchange of this name.
    #[inline]
    pub(crate) fn allows_topic(&self, act: Act, exchange: &[u8], key: &[u8]) -> bool {
        let allows = |topics: &TopicAccess| match act {
            Act::Write => topics.allows_writing(key),
            Act::Configure | Act::Read => topics.allows_reading(key),
        };
        self.topics.is_empty() || self.topics.get(exchange).is_none_or(allows)
    }

    /// Tells whether a message may have this `user-id`
    /// (<https://www.rabbitmq.com/docs/validated-user-id>).
    pub(crate) fn may_be(&self, user: &[u8]) -> bool {
        user == self.user.as_bytes() || self.tags.contains(&UserTag::Impersonator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(configure: &str) -> Access {
        let permissions = Permissions::new(configure, "", ".*").ok();
        Access { permissions, ..Access::unlimited("u") }
    }

    #[test]
    fn a_pattern_matches_anywhere_unless_it_is_held() {
        assert!(access("b").allows(Act::Configure, b"abc"));
        assert!(!access("^b").allows(Act::Configure, b"abc"));
        assert!(access("^b").allows(Act::Configure, b"b\xff"), "names need not be text");
    }

    #[test]
    fn nothing_matches_no_name() {
        assert!(!access("x").allows(Act::Write, b"x"));
        assert!(access("x").allows(Act::Read, b"whatever"));
        let error = Permissions::new("(", "", "").unwrap_err();
        assert_eq!(error.to_string(), "\"(\" is not a regular expression: unclosed group");
    }
}
