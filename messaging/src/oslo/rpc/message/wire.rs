//! Requests and replies inside the envelope.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    compress::room::Taken,
    oslo::{
        error::remote::RemoteError,
        rpc::message::{failure::Failure, field::Field},
        wire::{
            context::{Context, PREFIX},
            id::Id,
        },
    },
    serialize,
    version::Version,
};

/// A request to be sent.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// A JSON object.
    pub(crate) arguments: &'a RawValue,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) version: Option<Version>,
    /// The id of the call and its reply queue; `None` for a cast.
    pub(crate) reply_to: Option<(Id, &'a str)>,
    /// The interval in which the client of a call wants heartbeats from the server.
    pub(crate) monitor: Option<Duration>,
    pub(crate) context: &'a Context,
}

impl Serialize for Request<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("method", self.method)?;
        map.serialize_entry("args", self.arguments)?;
        if let Some(namespace) = self.namespace {
            map.serialize_entry("namespace", namespace)?;
        }
        if let Some(version) = self.version {
            map.serialize_entry("version", &format_args!("{version}"))?;
        }
        if let Some((id, queue)) = self.reply_to {
            map.serialize_entry("_msg_id", &id)?;
            map.serialize_entry("_reply_q", queue)?;
            map.serialize_entry("_timeout", &self.monitor.map(Seconds))?;
        }
        map.serialize_entry("_unique_id", &Id::new())?;
        self.context.serialize_into(&mut map)?;
        map.end()
    }
}

/// A number of seconds, without a point if it is whole.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

/// A received request. Errors of its sender are kept, so that they can be answered.
#[derive(Debug, Default)]
pub(crate) struct Received<'a> {
    pub(crate) method: Option<Field<'a>>,
    pub(crate) arguments: Option<&'a RawValue>,
    pub(crate) namespace: Option<Field<'a>>,
    pub(crate) version: Option<Field<'a>>,
    pub(crate) message_id: Option<Cow<'a, str>>,
    pub(crate) reply_queue: Option<Cow<'a, str>>,
    pub(crate) unique_id: Option<Cow<'a, str>>,
    /// The interval in which the client wants heartbeats of its call.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) context: Context,
}

impl<'a> Received<'a> {
    /// Reads the JSON text in the envelope. Python's dialect is replaced in `strict`.
    pub(crate) fn from_json(text: &'a str, strict: &'a mut String) -> serde_json::Result<Self> {
        serde_json::from_str(text).or_else(|error| match serialize::strict(text) {
            Cow::Owned(replaced) => {
                *strict = replaced;
                serde_json::from_str(strict)
            }
            Cow::Borrowed(_) => Err(error),
        })
    }
}

/// Reads in one pass: needed values are deserialized, others are skipped.
impl<'de> Deserialize<'de> for Received<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReceivedVisitor)
    }
}

struct ReceivedVisitor;

impl<'de> Visitor<'de> for ReceivedVisitor {
    type Value = Received<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut received = Received::default();
        let mut context = Map::new();
        while let Some(Text(name)) = fields.next_key()? {
            match &*name {
                "method" => received.method = Some(fields.next_value()?),
                "args" => received.arguments = Some(fields.next_value()?),
                "namespace" => received.namespace = Some(fields.next_value()?),
                "version" => received.version = Some(fields.next_value()?),
                "_msg_id" => received.message_id = fields.next_value::<Field<'_>>()?.into_true_text(),
                "_reply_q" => received.reply_queue = fields.next_value::<Field<'_>>()?.into_true_text(),
                "_unique_id" => received.unique_id = fields.next_value::<Field<'_>>()?.into_true_text(),
                "_timeout" => received.heartbeat = heartbeat(&fields.next_value()?),
                name => match name.strip_prefix(PREFIX) {
                    Some(name) => {
                        context.insert(name.to_owned(), fields.next_value()?);
                    }
                    None => {
                        fields.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        received.context = context.into();
        Ok(received)
    }
}

/// Text, borrowed if nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Half of the client's patience, in whole seconds. Below 2 s Python sends no heartbeats, and a
/// client that did not request them must not get any.
fn heartbeat(patience: &Field<'_>) -> Option<Duration> {
    let seconds = match patience {
        Field::Text(text) => text.trim().parse().ok()?,
        Field::Other(other) => other.as_f64()?.floor(),
    };
    let interval = Duration::try_from_secs_f64(seconds / 2.0).ok()?;
    (interval >= Duration::from_secs(1)).then_some(interval)
}

/// A reply to be sent. Python requires all five keys.
#[derive(Serialize)]
pub(crate) struct Reply<'a> {
    result: Option<&'a RawValue>,
    /// JSON text in a string.
    failure: Option<String>,
    ending: bool,
    #[serde(rename = "_msg_id")]
    message_id: &'a str,
    #[serde(rename = "_unique_id")]
    unique_id: Id,
}

impl<'a> Reply<'a> {
    /// The reply that ends a call.
    pub(crate) fn new(
        message_id: &'a str,
        answer: &'a Result<Box<RawValue>, Failure>,
    ) -> serde_json::Result<Self> {
        let (result, failure) = match answer {
            Ok(result) => (Some(&**result), None),
            Err(failure) => (None, Some(failure.to_json()?)),
        };
        Ok(Reply { result, failure, ending: true, message_id, unique_id: Id::new() })
    }

    /// A heartbeat: the call is being handled.
    pub(crate) fn heartbeat(message_id: &'a str) -> Self {
        Reply { result: None, failure: None, ending: false, message_id, unique_id: Id::new() }
    }
}

/// A received reply.
#[derive(Debug, Deserialize)]
pub(crate) struct ReceivedReply {
    #[serde(rename = "_msg_id", default, deserialize_with = "id_of_call")]
    call: Option<Id>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    failure: Option<Value>,
    #[serde(default)]
    ending: Value,
    /// The memory reserved from the budget if it came compressed, until its answer is decoded.
    #[serde(skip)]
    pub(crate) room: Option<Taken>,
}

impl ReceivedReply {
    /// Reads the JSON text in the envelope.
    pub(crate) fn from_json(text: &str) -> serde_json::Result<Self> {
        serialize::from_json(text)
    }

    /// Returns the call that it answers, if it is one of this process.
    pub(crate) fn call(&self) -> Option<Id> {
        self.call
    }

    /// Whether no other reply follows.
    pub(crate) fn is_last(&self) -> bool {
        self.ending == Value::Bool(true)
    }

    /// Returns the method's answer; `None` is null. A failure takes precedence over a result.
    pub(crate) fn into_answer(self) -> Result<Option<Box<RawValue>>, Box<RemoteError>> {
        match self.failure {
            Some(Value::String(text)) if !text.is_empty() => Err(Box::new(RemoteError::from_json(&text))),
            Some(object @ Value::Object(_)) => Err(Box::new(RemoteError::from_json(&object.to_string()))),
            _ => Ok(self.result),
        }
    }

    /// Whether it contains an answer, which a later, last reply may omit.
    pub(crate) fn has_answer(&self) -> bool {
        self.result.is_some() || matches!(&self.failure, Some(Value::String(text)) if !text.is_empty())
    }
}

/// Reads the id of a call; `None` if it is not in this library's form, and so belongs to no call of
/// this process.
fn id_of_call<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    let text = Option::<Text<'_>>::deserialize(deserializer)?;
    Ok(text.and_then(|Text(text)| Id::parse(&text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_call_has_the_keys_of_the_captured_one() {
        let arguments = raw(r#"{"a":1}"#);
        let context = Context::new().with("user", "alice");
        let id = Id::new();
        let request = Request {
            method: "echo",
            arguments: &arguments,
            namespace: None,
            version: Some(Version::new(1, 0)),
            reply_to: Some((id, "reply_1")),
            monitor: None,
            context: &context,
        };
        let mut written: Value = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        let unique_id = written.as_object_mut().unwrap().remove("_unique_id").unwrap();
        assert_eq!(unique_id.as_str().unwrap().len(), 32);
        let expected = json!({
            "method": "echo", "args": {"a": 1}, "version": "1.0", "_msg_id": id.to_string(), "_reply_q": "reply_1",
            "_timeout": null, "_context_user": "alice",
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn a_monitored_call_says_how_patient_its_client_is() {
        for (monitor, written) in [(2000, "2"), (2500, "2.5")] {
            let request = Request {
                method: "m",
                arguments: &raw("{}"),
                namespace: None,
                version: None,
                reply_to: Some((Id::new(), "reply_1")),
                monitor: Some(Duration::from_millis(monitor)),
                context: &Context::new(),
            };
            let json = serde_json::to_string(&request).unwrap();
            assert!(json.contains(&format!("\"_timeout\":{written},")), "{json}");
        }
    }

    #[test]
    fn a_cast_says_nothing_of_replies_and_leaves_out_what_is_not_set() {
        let arguments = raw("{}");
        let request = Request {
            method: "m",
            arguments: &arguments,
            namespace: None,
            version: None,
            reply_to: None,
            monitor: None,
            context: &Context::new(),
        };
        let written: Value = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        let keys: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["_unique_id", "args", "method"]);
    }

    #[test]
    fn a_captured_call_is_read() {
        let mut strict = String::new();
        let received = Received::from_json(
            r#"{"method": "echo", "args": {"a": 1}, "version": "1.0", "_msg_id": "5fcebaf07d464aa48f7a1e9546ccf035", "_reply_q": "reply_d24bfd63a2704fbd8167e85ce5873a75", "_timeout": null, "_unique_id": "f809af92bd2f4264b07e88e8365b0428", "_context_user": "alice", "unknown": [NaN]}"#,
            &mut strict,
        )
        .unwrap();
        assert_eq!(received.method, Some(Field::Text("echo".into())));
        assert_eq!(received.arguments.unwrap().get(), r#"{"a": 1}"#);
        assert_eq!(received.message_id.as_deref(), Some("5fcebaf07d464aa48f7a1e9546ccf035"));
        assert_eq!(received.context, Context::new().with("user", "alice"));
        assert_eq!(received.namespace, None);
    }

    #[test]
    fn a_request_with_odd_values_is_still_read_so_that_it_can_be_answered() {
        let text = r#"{"method": 1, "args": null, "version": null, "_msg_id": "x", "_unique_id": ""}"#;
        let mut strict = String::new();
        let received = Received::from_json(text, &mut strict).unwrap();
        assert_eq!(received.method, Some(Field::Other(json!(1))));
        assert_eq!(received.version, Some(Field::Other(Value::Null)));
        assert_eq!(received.message_id.as_deref(), Some("x"));
        assert_eq!(received.unique_id, None);
    }

    #[test]
    fn heartbeats_come_twice_in_the_clients_patience_and_only_when_asked_for() {
        for (timeout, seconds) in [
            ("2", Some(1.0)),
            ("2.9", Some(1.0)),
            ("\"2\"", Some(1.0)),
            ("5", Some(2.5)),
            ("1", None),
            ("0", None),
            ("-4", None),
            ("1e300", None),
            ("null", None),
            ("\"x\"", None),
            ("[2]", None),
        ] {
            let (text, mut strict) = (format!(r#"{{"_timeout": {timeout}}}"#), String::new());
            let received = Received::from_json(&text, &mut strict).unwrap();
            assert_eq!(received.heartbeat, seconds.map(Duration::from_secs_f64), "{timeout}");
        }
        assert_eq!(Received::from_json("{}", &mut String::new()).unwrap().heartbeat, None);
    }

    #[test]
    fn replies_have_all_five_keys() {
        for (answer, result, fails) in [
            (Ok(raw(r#"{"a":1}"#)), json!({"a": 1}), false),
            (Ok(raw("null")), Value::Null, false),
            (Err(Failure::new("ValueError", "no")), Value::Null, true),
        ] {
            let reply = serde_json::to_string(&Reply::new("id", &answer).unwrap()).unwrap();
            let written: Value = serde_json::from_str(&reply).unwrap();
            let keys: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, ["_msg_id", "_unique_id", "ending", "failure", "result"]);
            assert_eq!(written["result"], result);
            assert_eq!(written["failure"].is_string(), fails);
            assert_eq!(written["ending"], true);
        }
    }

    #[test]
    fn captured_replies_are_read() {
        let success = ReceivedReply::from_json(r#"{"result": {"a": "callserver"}, "failure": null, "ending": true, "_msg_id": "1c9a83800c5640679257dc2dac57aceb", "_unique_id": "68d7dc3ee5894030ab7f4fb745b50b51"}"#).unwrap();
        assert!(success.is_last() && success.call().is_some());
        assert_eq!(success.into_answer().unwrap().unwrap().get(), r#"{"a": "callserver"}"#);

        let heartbeat = ReceivedReply::from_json(r#"{"result": null, "failure": null, "ending": false, "_msg_id": "2f267aa24ebd42a9a00ad9b8c3f0fabe", "_unique_id": "078943e8fe4e4200bee4d8caedbe6cf9"}"#).unwrap();
        assert!(!heartbeat.is_last() && !heartbeat.has_answer());

        let failure = ReceivedReply::from_json(r#"{"result": null, "failure": "{\"class\": \"AppError\", \"module\": \"__main__\", \"message\": \"app failed\", \"tb\": [], \"args\": [\"app failed\"], \"kwargs\": {\"code\": 500}}", "ending": true, "_msg_id": "2143f6560e8e41cd8fb017e6d22d25e4", "_unique_id": "e73e975bf3354d509c2fbee2f293f98a"}"#).unwrap();
        assert_eq!(failure.into_answer().unwrap_err().class, "AppError");
    }

    #[test]
    fn replies_of_other_shapes_are_read_as_python_reads_them_or_better() {
        let answer = |text: &str| ReceivedReply::from_json(text).unwrap().into_answer();
        assert!(answer(r#"{"_msg_id": "x", "ending": true}"#).unwrap().is_none());
        assert!(answer(r#"{"result": 1, "failure": "", "ending": true}"#).is_ok());
        assert!(answer(r#"{"result": 1, "failure": "{\"class\": \"E\"}"}"#).is_err());
        assert!(answer(r#"{"failure": {"class": "E"}}"#).is_err());
        assert!(!ReceivedReply::from_json(r#"{"result": 1}"#).unwrap().is_last());
    }
}
