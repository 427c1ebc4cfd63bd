//! A command as its handler sees it.

use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::mailbox::{namespace::wire, node::stop::Stop};
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A command for a handler.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: Arc<str>,
    pub(super) node: Arc<str>,
    pub(super) sender: Option<Arc<str>>,
    pub(super) clock: u64,
    pub(super) is_reply_withheld: Arc<AtomicBool>,
    pub(super) stop: Arc<Stop>,
}

impl Request {
    /// Returns the method that was asked for.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the name of the node that handles it.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the routing key of the reply, which is unique to the sender; `None` if it wants no
    /// reply.
    #[must_use]
    pub fn sender(&self) -> Option<&str> {
        self.sender.as_deref()
    }

    /// Returns the node's logical time after it received the command.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Sends no reply to this command, whatever the handler returns. Its sender then waits until
    /// its deadline, as for a node that has stopped.
    pub fn withhold_reply(&self) {
        self.is_reply_withheld.store(true, Relaxed);
    }

    /// Stops the node: it takes no more commands, and [`Node::wait`](crate::mailbox::Node::wait)
    /// returns when those in progress are handled. The reply to this command is still sent.
    pub fn stop_node(&self) {
        self.stop.request();
    }
}

/// The arguments of a command, by their names.
#[derive(Clone, Debug, Default)]
pub struct Arguments(pub(super) Map<String, Value>);

impl Arguments {
    /// Decodes the arguments as a type; `()` suits a command without arguments.
    ///
    /// # Errors
    /// A `TypeError` for the sender, when they are not of this type.
    pub fn read<A: DeserializeOwned>(self) -> Result<A, Failure> {
        // `()` is null to serde, so that no arguments need a second attempt.
        let is_empty = self.0.is_empty();
        let read = serde_json::from_value(Value::Object(self.0));
        let read = read.or_else(|error| match is_empty {
            true => serde_json::from_value(Value::Null).map_err(|_| error),
            false => Err(error),
        });
        let text = |error| format!("TypeError({})", wire::repr(&format!("wrong arguments: {error}")));
        read.map_err(|error: serde_json::Error| Failure(text(error)))
    }

    /// Returns the arguments as JSON.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// The failure of a handler. The sender of the command gets its text as `{"error": text}`. Every
/// error converts into it, and so does text.
pub struct Failure(pub(super) String);

impl Failure {
    /// Returns the answer that kombu gives for a method that a node does not have.
    #[must_use]
    pub fn unknown_method(method: &str) -> Self {
        Failure(format!("KeyError({})", wire::repr(method)))
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.to_string())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failure").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn arguments(value: &Value) -> Arguments {
        Arguments(value.as_object().unwrap().clone())
    }

    #[test]
    fn arguments_are_read_as_types_and_none_as_the_unit() {
        #[derive(Deserialize, Debug, PartialEq)]
        struct Grow {
            n: u32,
        }
        assert_eq!(arguments(&json!({"n": 2})).read::<Grow>().unwrap(), Grow { n: 2 });
        arguments(&json!({})).read::<()>().unwrap();
        let wrong = arguments(&json!({"n": "x"})).read::<Grow>().unwrap_err();
        assert!(wrong.text().starts_with("TypeError('wrong arguments: "), "{wrong:?}");
        assert!(arguments(&json!({"n": 2})).read::<()>().is_err());
    }

    #[test]
    fn errors_and_texts_are_failures() {
        assert_eq!(Failure::from("why").text(), "why");
        assert_eq!(Failure::from(fmt::Error).text(), fmt::Error.to_string());
        assert_eq!(Failure::unknown_method("nosuch").text(), "KeyError('nosuch')");
    }
}
