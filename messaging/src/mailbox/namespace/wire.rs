//! Commands and replies as kombu writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amqp_client::{Table, Value as HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mailbox::namespace::recipients::{Destination, Recipients};

/// The header with the time after which nobody waits for a reply any more.
pub(crate) const EXPIRES: &str = "expires";

/// The header of a reply with the ticket of its command.
pub(crate) const TICKET: &str = "ticket";

/// A command to be sent. The last two fields exist only if a reply is wanted.
#[derive(Debug, Serialize)]
pub(crate) struct SentCommand<'a> {
    pub(crate) method: &'a str,
    pub(crate) arguments: &'a Map<String, Value>,
    pub(crate) destination: Option<&'a [String]>,
    pub(crate) pattern: Option<&'a str>,
    pub(crate) matcher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<ReplyTo>,
}

/// Where a reply is to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyTo {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

/// A command that was received.
#[derive(Debug)]
pub(crate) struct ReceivedCommand {
    pub(crate) method: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) recipients: Recipients,
    pub(crate) ticket: Option<String>,
    pub(crate) reply_to: Option<ReplyTo>,
}

/// The fields of a received command before they are checked. Others are ignored.
#[derive(Deserialize)]
struct Fields {
    method: String,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    #[serde(default)]
    destination: Value,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    matcher: Option<String>,
    #[serde(default)]
    ticket: Option<String>,
    #[serde(default)]
    reply_to: Value,
}

impl ReceivedCommand {
    /// Reads the body of a command.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(body: Value) -> Result<Self, String> {
        let fields: Fields = serde_json::from_value(body).map_err(|error| error.to_string())?;
        let destination = Destination::read(fields.destination)
            .ok_or("its destination is neither null, a text nor a list".to_owned())?;
        let reply_to = match fields.reply_to {
            // Python takes an empty object for no wish for a reply.
            Value::Null => None,
            Value::Object(object) if object.is_empty() => None,
            reply_to => Some(serde_json::from_value(reply_to).map_err(|error| format!("reply_to: {error}"))?),
        };
        Ok(ReceivedCommand {
            method: fields.method,
            arguments: fields.arguments.unwrap_or_default(),
            recipients: Recipients { destination, pattern: fields.pattern, matcher: fields.matcher },
            ticket: fields.ticket,
            reply_to,
        })
    }
}

/// Returns the value of the header [`EXPIRES`] for a command whose sender waits for so long; 0 for
/// one that waits for no reply.
pub(crate) fn expires(timeout: Option<Duration>) -> HeaderValue {
    match timeout {
        Some(timeout) => HeaderValue::F64(seconds(now().saturating_add(timeout))),
        None => HeaderValue::I32(0),
    }
}

/// How long ago a command expired. `None` if it has not, or never expires: its header is 0, absent
/// or no number.
pub(crate) fn expired_for(headers: Option<&Table>) -> Option<Duration> {
    let expires = match headers?.get(EXPIRES)? {
        HeaderValue::F64(seconds) => seconds,
        HeaderValue::F32(seconds) => seconds.into(),
        // The loss of digits beyond 2^53 seconds changes nothing.
        other => other.as_i64()? as f64,
    };
    if expires == 0.0 || expires.is_nan() {
        return None;
    }
    Duration::try_from_secs_f64(seconds(now()) - expires).ok()
}

/// The time since 1970-01-01 UTC.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Returns the answers in the body of a reply, each with its node's name.
pub(crate) fn answers(body: Value) -> Option<Map<String, Value>> {
    match body {
        Value::Object(answers) if !answers.is_empty() => Some(answers),
        _ => None,
    }
}

/// Returns a text as Python's `repr` shows it, for texts of printable characters.
pub(crate) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            character if character == quote => shown.extend(['\\', character]),
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_has_the_captured_form() {
        let arguments = json!({"value": "hi"});
        let reply_to =
            ReplyTo { exchange: "reply.testMailbox.pidbox".to_owned(), routing_key: "68ab".to_owned() };
        let command = SentCommand {
            method: "echo",
            arguments: arguments.as_object().unwrap(),
            destination: None,
            pattern: None,
            matcher: None,
            ticket: Some("7f65"),
            reply_to: Some(reply_to),
        };
        assert_eq!(
            serde_json::to_string(&command).unwrap(),
            r#"{"method":"echo","arguments":{"value":"hi"},"destination":null,"pattern":null,"matcher":null,"ticket":"7f65","reply_to":{"exchange":"reply.testMailbox.pidbox","routing_key":"68ab"}}"#
        );
        let cast = SentCommand { ticket: None, reply_to: None, ..command };
        let text = serde_json::to_string(&cast).unwrap();
        assert!(text.ends_with(r#""matcher":null}"#), "{text}");
    }

    #[test]
    fn the_least_command_is_read_and_a_malformed_one_is_refused() {
        let read = ReceivedCommand::read(json!({"method": "ping", "reply_to": {}, "extra": 1})).unwrap();
        assert_eq!((read.method.as_str(), read.reply_to), ("ping", None));
        for malformed in [
            json!([]),
            json!({}),
            json!({"method": 1}),
            json!({"method": "ping", "arguments": [1]}),
            json!({"method": "ping", "reply_to": "q"}),
            json!({"method": "ping", "reply_to": {"exchange": "e"}}),
            json!({"method": "ping", "destination": 7}),
        ] {
            assert!(ReceivedCommand::read(malformed.clone()).is_err(), "{malformed}");
        }
    }

    #[test]
    fn only_a_time_in_the_past_has_expired() {
        let of = |value: HeaderValue| {
            let mut headers = Table::new();
            headers.insert(EXPIRES, value).unwrap();
            expired_for(Some(&headers))
        };
        let text = HeaderValue::LongString("1".to_owned().into());
        for never in
            [HeaderValue::I32(0), HeaderValue::F64(0.0), HeaderValue::F64(f64::NAN), HeaderValue::Void, text]
        {
            assert_eq!(of(never.clone()), None, "{never:?}");
        }
        assert_eq!((expired_for(None), expired_for(Some(&Table::new()))), (None, None));
        assert_eq!(of(expires(Some(Duration::from_secs(60)))), None);
        assert!(of(HeaderValue::I64(1_000_000)) > Some(Duration::from_secs(1_000_000_000)));
        assert!(of(HeaderValue::F64(1e6)) > Some(Duration::from_secs(1_000_000_000)));
    }

    #[test]
    fn texts_are_shown_as_python_shows_them() {
        for (text, shown) in
            [("nosuch", "'nosuch'"), ("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("a\nb\\", "'a\\nb\\\\'")]
        {
            assert_eq!(repr(text), shown);
        }
    }
}
