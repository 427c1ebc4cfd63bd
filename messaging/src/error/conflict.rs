//! The error for an entity that exists with other properties than declared.

use std::fmt;

use amqp_client::{Channel, Close, Exchange, Queue};
use amqp_codec::ReplyCode;

/// An exchange or queue exists with other properties than it was to be declared with; the broker
/// then changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// `exchange` or `queue`.
    pub kind: &'static str,
    /// The entity's name.
    pub name: String,
    /// What differs: `durable`, `type`, `x-message-ttl` and so on. Empty when the broker's text is
    /// not in RabbitMQ's form.
    pub argument: String,
    /// The value in the declaration; `none` if there is none. Empty when the broker does not say.
    pub wanted: String,
    /// The value of the existing entity; `none` if there is none. Empty when the broker does not
    /// say.
    pub existing: String,
    /// The broker's text.
    pub said: String,
}

impl Conflict {
    /// Returns the conflict, if a declaration was refused because the entity exists with other
    /// properties. If the broker's text does not say so, the entity is looked up on a separate
    /// channel.
    pub(crate) async fn find(
        channel: &Channel,
        (kind, name): (&'static str, &str),
        refusal: &amqp_client::Error,
    ) -> Option<Self> {
        let close = refusal.close().filter(|close| close.code == ReplyCode::PRECONDITION_FAILED)?;
        let conflict = Conflict::from_close(kind, name, close);
        if conflict.argument.is_empty() {
            let channel = channel.open_another().await.ok()?;
            let asked = match kind {
                "queue" => channel.declare(Queue::new(name).passive(true)).await.map(drop),
                _ => channel.declare(Exchange::direct(name).passive(true)).await,
            };
            asked.ok()?;
        }
        Some(conflict)
    }

    fn from_close(kind: &'static str, name: &str, close: &Close) -> Self {
        let (argument, wanted, existing) = read(&close.text).unwrap_or_default();
        Conflict { kind, name: name.to_owned(), argument, wanted, existing, said: close.text.clone() }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { kind, name, argument, wanted, existing, said } = self;
        if argument.is_empty() {
            return write!(f, "{kind} {name:?} exists with other properties than declared: {said}");
        }
        write!(f, "{kind} {name:?} exists with {argument} {existing:?} and was declared with {wanted:?}")
    }
}

impl std::error::Error for Conflict {}

/// Reads the argument, its wanted and its existing value from RabbitMQ's text:
///
/// ```text
/// PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q' in vhost '/': received none
/// but current is the value '60000' of type 'signedint'
/// ```
fn read(text: &str) -> Option<(String, String, String)> {
    let (_, rest) = text.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once("' for ")?;
    let (_, values) = rest.rsplit_once(": received ")?;
    let (wanted, existing) = values.split_once(" but current is ")?;
    Some((argument.to_owned(), value(wanted), value(existing)))
}

/// Reads a value: `none`, `'true'`, or `the value '5' of type 'signedint'`.
fn value(text: &str) -> String {
    let text = text.strip_prefix("the value ").unwrap_or(text);
    let text = text.rsplit_once(" of type ").map_or(text, |(value, _)| value);
    text.trim_matches('\'').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_rabbitmq_are_read() {
        let conflict = |text: &str| read(&format!("PRECONDITION_FAILED - inequivalent arg {text}"));
        for (text, argument, wanted, existing) in [
            (
                "'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'",
                "durable",
                "true",
                "false",
            ),
            (
                "'x-expires' for queue 'it''s: received' in vhost '/': received none but current is the value '60000' of type 'signedint'",
                "x-expires",
                "none",
                "60000",
            ),
            (
                "'x-max-length' for queue 'q' in vhost '/': received the value '5' of type 'signedint' but current is none",
                "x-max-length",
                "5",
                "none",
            ),
            (
                "'type' for exchange 'e' in vhost '/': received 'topic' but current is 'fanout'",
                "type",
                "topic",
                "fanout",
            ),
        ] {
            let expected = (argument.to_owned(), wanted.to_owned(), existing.to_owned());
            assert_eq!(conflict(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_words_are_no_conflict() {
        assert_eq!(
            read("PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': ..."),
            None
        );
        assert_eq!(read(""), None);
    }
}
