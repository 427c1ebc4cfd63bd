//! The routing keys that a user may use with a topic exchange
//! (<https://www.rabbitmq.com/docs/access-control#topic-authorisation>).

use std::collections::BTreeMap;

use super::pattern::{InvalidPattern, Pattern};

/// A user's permissions on the routing keys of one topic exchange in one virtual host, beside the
/// [`Permissions`](crate::Permissions) on names. There is one regular expression for the keys that
/// may be published with, and one for those that may be bound and unbound with, to queues and to
/// other exchanges.
///
/// As in RabbitMQ, an expression matches anywhere in a key unless `^` and `$` anchor it, and the
/// empty one matches the empty key only. `{username}` and `{vhost}` stand for the names of the user
/// and the virtual host, which are read as parts of the expression: in the name `a.b` the dot
/// matches any character. `{client_id}` stands for the id of an MQTT client; AMQP clients have
/// none, so it stands for itself.
///
/// ```
/// use amqp_broker::TopicPermissions;
///
/// let permissions = TopicPermissions::new("^{username}\\.", "^(news|{username})\\.")?;
/// # Ok::<(), amqp_broker::InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissions {
    write: String,
    read: String,
}

impl TopicPermissions {
    /// Takes two regular expressions, in the order of `rabbitmqctl set_topic_permissions`.
    ///
    /// # Errors
    /// When one of them is not a regular expression, whatever the names of the user and the virtual
    /// host are.
    pub fn new(write: &str, read: &str) -> Result<Self, InvalidPattern> {
        for text in [write, read] {
            // Variables are parts of names as they are written here.
            let literal = expand(text, r"\{username\}", r"\{vhost\}");
            Pattern::parse(&literal).map_err(|error| error.of(text))?;
        }
        Ok(TopicPermissions { write: write.to_owned(), read: read.to_owned() })
    }

    /// The regular expressions, in the order of [`new`](Self::new).
    #[cfg(feature = "management")]
    pub(crate) fn texts(&self) -> [&str; 2] {
        [&self.write, &self.read]
    }

    /// The permissions of this user in this virtual host.
    pub(crate) fn of(&self, user: &str, vhost: &str) -> TopicAccess {
        let of = |text| {
            let read_as_expression = Pattern::parse(&expand(text, user, vhost));
            // A name need not be an expression; RabbitMQ closes the connection with 541 then.
            let read_as_name = || Pattern::parse(&expand(text, &regex::escape(user), &regex::escape(vhost)));
            read_as_expression.or_else(|_| read_as_name()).unwrap_or(Pattern::None)
        };
        TopicAccess { write: of(&self.write), read: of(&self.read) }
    }
}

/// Puts the names of the user and the virtual host into an expression.
fn expand(text: &str, user: &str, vhost: &str) -> String {
    text.replace("{username}", user).replace("{vhost}", vhost).replace("{client_id}", r"\{client_id\}")
}

/// A user's permissions on the routing keys of one exchange.
#[derive(Clone, Debug)]
pub(crate) struct TopicAccess {
    write: Pattern,
    read: Pattern,
}

impl TopicAccess {
    /// Tells whether messages may be published with this key.
    pub(crate) fn allows_writing(&self, key: &[u8]) -> bool {
        self.write.has(key)
    }

    /// Tells whether bindings may be made and removed with this key.
    pub(crate) fn allows_reading(&self, key: &[u8]) -> bool {
        self.read.has(key)
    }
}

/// A user's permissions on routing keys in one virtual host, by exchange. An exchange without any
/// may be used with every key.
pub(crate) type Topics = BTreeMap<Vec<u8>, TopicAccess>;

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(write: &str, user: &str, key: &[u8]) -> bool {
        TopicPermissions::new(write, "").unwrap().of(user, "/").allows_writing(key)
    }

    #[test]
    fn variables_stand_for_names_that_are_parts_of_the_expression() {
        assert!(allows("^{username}-{vhost}$", "u", b"u-/") && !allows("^{username}-{vhost}$", "u", b"v-/"));
        assert!(allows("^{username}$", "a.b", b"axb"));
        assert!(allows("^{client_id}$", "u", b"{client_id}") && !allows("^{client_id}$", "u", b""));
    }

    #[test]
    fn a_name_that_is_no_expression_stands_for_itself() {
        assert!(allows("^{username}$", "p(", b"p(") && !allows("^{username}$", "p(", b"p"));
    }

    #[test]
    fn writing_and_reading_are_apart_and_the_empty_expression_is_the_empty_key() {
        let access = TopicPermissions::new("b", "").unwrap().of("u", "/");
        assert!(access.allows_writing(b"abc") && !access.allows_writing(b"a"));
        assert!(access.allows_reading(b"") && !access.allows_reading(b"b"));
    }

    #[test]
    fn what_is_no_expression_is_named_as_it_was_written() {
        for (write, read) in [("{username}(", ""), ("", "{username}(")] {
            let error = TopicPermissions::new(write, read).unwrap_err().to_string();
            assert_eq!(error, "\"{username}(\" is not a regular expression: unclosed group");
        }
    }
}
