//! Who a client is and what it may do in a virtual host
//! (<https://www.rabbitmq.com/access-control.html>).

use regex::bytes::Regex;

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
    configure: Names,
    write: Names,
    read: Names,
}

/// A set of names.
#[derive(Clone, Debug)]
enum Names {
    All,
    None,
    Matching(Regex),
}

/// An invalid regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a regular expression: {why}")]
pub struct InvalidPattern {
    pattern: String,
    why: String,
}

impl Permissions {
    /// Takes three regular expressions, in the order of `rabbitmqctl set_permissions`.
    ///
    /// # Errors
    /// When one of them is not a regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, InvalidPattern> {
        Ok(Permissions { configure: pattern(configure)?, write: pattern(write)?, read: pattern(read)? })
    }

    /// Permissions for everything.
    pub(crate) fn all() -> Self {
        Permissions { configure: Names::All, write: Names::All, read: Names::All }
    }

    /// Permissions for nothing.
    pub(crate) fn none() -> Self {
        Permissions { configure: Names::None, write: Names::None, read: Names::None }
    }
}

fn pattern(text: &str) -> Result<Names, InvalidPattern> {
    // In RabbitMQ, too, the empty expression matches the empty name only.
    let whole = if text.is_empty() { "^$" } else { text };
    let regex = Regex::new(whole);
    regex.map(Names::Matching).map_err(|error| {
        // The lines before the last show where the error is; a log line has no room for them.
        let error = error.to_string();
        let why = error.rsplit("error: ").next().unwrap_or_default().trim().to_owned();
        InvalidPattern { pattern: text.to_owned(), why }
    })
}

/// What a client does to a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Configure,
    Write,
    Read,
}

/// The user of a connection, and the user's permissions.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) user: String,
    /// `None` when everything is allowed.
    pub(crate) permissions: Option<Permissions>,
}

impl Access {
    /// Tells whether the act is allowed on the entity of this name.
    pub(crate) fn allows(&self, act: Act, name: &[u8]) -> bool {
        self.permissions.as_ref().is_none_or(|permissions| {
            let names = match act {
                Act::Configure => &permissions.configure,
                Act::Write => &permissions.write,
                Act::Read => &permissions.read,
            };
            match names {
                Names::All => true,
                Names::None => false,
                Names::Matching(regex) => regex.is_match(name),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(configure: &str) -> Access {
        let permissions = Permissions::new(configure, "", ".*").unwrap();
        Access { user: "u".to_owned(), permissions: Some(permissions) }
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
