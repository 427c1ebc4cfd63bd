//! The message of a task as a worker reads it. Nothing in it is trusted.

use std::time::{Duration, SystemTime};

use amqp_client::{Properties, Received, Table, Value as Header};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    celery::{
        tasks::message::{Followers, Outgoing},
        worker::task::arguments::Arguments,
    },
    consume::consumer::decode_body,
    error::Malformed,
    serialize::Serializers,
};

/// The content type that Celery accepts by default.
const JSON: &str = "application/json";

/// A call of a task.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Arguments,
    pub(crate) followers: Followers,
    pub(crate) eta: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) retries: u32,
    /// The hard limit, then the soft one.
    pub(crate) time_limits: [Option<Duration>; 2],
    pub(crate) root: Option<String>,
    pub(crate) parent_id: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) group_index: Option<i64>,
    pub(crate) reply_to: Option<String>,
    pub(crate) ignores_result: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) redelivered: bool,
    /// The queue that it came from.
    pub(crate) queue: String,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// The arguments as texts.
    pub(crate) shown: [String; 2],
    /// The stamps, which stay with it.
    stamps: Vec<(String, Header)>,
}

/// Why a message is not the call of a task.
#[derive(Debug)]
pub(crate) enum NoCall {
    /// It cannot be decoded.
    Undecodable(Malformed),
    /// It is of another form.
    Invalid(String),
}

impl Call {
    /// Reads a message from a queue.
    pub(crate) fn read(received: &Received, queue: &str, serializers: &Serializers) -> Result<Self, NoCall> {
        if let Some(size) = received.withheld() {
            return Err(NoCall::Undecodable(Malformed::Withheld { size }));
        }
        let properties = received.properties().map_err(Malformed::Properties).map_err(NoCall::Undecodable)?;
        let body: Value = decode_body(received.content_properties(), received.body(), serializers)
            .map_err(NoCall::Undecodable)?;
        let mut call = read(properties, body).map_err(NoCall::Invalid)?;
        call.redelivered = received.redelivered();
        queue.clone_into(&mut call.queue);
        call.exchange = received.exchange().into_owned();
        call.routing_key = received.routing_key().into_owned();
        Ok(call)
    }

    pub(crate) fn root_id(&self) -> &str {
        self.root.as_deref().unwrap_or(&self.id)
    }

    /// Tells whether its time is over.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= SystemTime::now())
    }

    /// Returns the call as it is sent once more, to run at another time.
    pub(crate) fn again(&self, eta: Option<SystemTime>) -> Outgoing {
        Outgoing {
            name: self.name.clone(),
            id: self.id.clone(),
            args: self.arguments.args.clone(),
            kwargs: self.arguments.kwargs.clone(),
            followers: self.followers.clone(),
            queue: self.queue.clone(),
            declares: true,
            priority: self.priority,
            eta,
            expires: self.expires,
            retries: self.retries.saturating_add(1),
            time_limits: self.time_limits,
            group: self.group.clone(),
            group_index: self.group_index,
            root_id: self.root.clone(),
            parent_id: self.parent_id.clone(),
            reply_to: self.reply_to.clone(),
            ignores_result: self.ignores_result,
            kept: self.stamps.clone(),
        }
    }
}

/// Returns what decodes the bodies of tasks.
pub(crate) fn serializers() -> Serializers {
    // JSON is always there.
    Serializers::new().accept([JSON]).unwrap_or_else(|_| Serializers::new())
}

fn read(properties: Properties, body: Value) -> Result<Call, String> {
    let headers = properties.headers.unwrap_or_default();
    let headers = Headers(&headers);
    let name = headers.text("task")?.ok_or("there is no header \"task\"")?;
    let id = headers.text("id")?.filter(|id| !id.is_empty()).ok_or("there is no header \"id\"")?;
    let (arguments, followers) = contents(body)?;
    let or_none = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let reply_to = properties.reply_to.map(|queue| queue.to_string()).filter(|queue| !queue.is_empty());
    Ok(Call {
        id,
        name,
        arguments,
        followers,
        eta: headers.time("eta")?,
        expires: headers.time("expires")?,
        retries: headers.whole("retries")?.and_then(|retries| u32::try_from(retries).ok()).unwrap_or(0),
        time_limits: headers.limits()?,
        root: headers.text("root_id")?,
        parent_id: headers.text("parent_id")?,
        group: headers.text("group")?,
        group_index: headers.whole("group_index")?,
        reply_to,
        ignores_result: headers.get("ignore_result").and_then(|ignored| ignored.as_bool()).unwrap_or(false),
        priority: properties.priority,
        redelivered: false,
        queue: String::new(),
        exchange: String::new(),
        routing_key: String::new(),
        shown: ["argsrepr", "kwargsrepr"].map(|name| or_none(headers.text(name).ok().flatten().as_deref())),
        stamps: headers.stamps(),
    })
}

/// Reads the body: positional and named arguments, and what follows.
fn contents(body: Value) -> Result<(Arguments, Followers), String> {
    let Value::Array(parts) = body else { return Err("the body is no list".to_owned()) };
    let Ok([args, kwargs, embedded]) = <[Value; 3]>::try_from(parts) else {
        return Err("the body is no list of three".to_owned());
    };
    let Value::Array(args) = args else { return Err("the positional arguments are no list".to_owned()) };
    let Value::Object(kwargs) = kwargs else { return Err("the named arguments are no object".to_owned()) };
    let mut embedded = match embedded {
        Value::Object(embedded) => embedded,
        Value::Null => Map::new(),
        _ => return Err("what follows is no object".to_owned()),
    };
    let mut signatures = |name: &str| {
        let list = embedded.remove(name).unwrap_or_default();
        let is_list = match &list {
            Value::Null => true,
            Value::Array(all) => all.iter().all(is_signature),
            _ => false,
        };
        if is_list { Ok(list) } else { Err(format!("{name:?} is no list of signatures")) }
    };
    let [callbacks, errbacks, chain] =
        [signatures("callbacks")?, signatures("errbacks")?, signatures("chain")?];
    let chord = embedded.remove("chord").unwrap_or_default();
    if !chord.is_null() && !is_signature(&chord) {
        return Err("\"chord\" is no signature".to_owned());
    }
    Ok((Arguments { args, kwargs }, Followers { callbacks, errbacks, chain, chord }))
}

/// Tells whether a value is a task that can be sent.
pub(crate) fn is_signature(value: &Value) -> bool {
    let is =
        |name: &str, is: fn(&Value) -> bool| value.get(name).is_none_or(|value| value.is_null() || is(value));
    value.get("task").is_some_and(Value::is_string)
        && is("args", Value::is_array)
        && is("kwargs", Value::is_object)
        && is("options", Value::is_object)
}

/// Reads a time in ISO 8601; without an offset it is in UTC.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    let in_utc =
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc());
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc)).ok();
    time.or_else(in_utc).map(SystemTime::from)
}

struct Headers<'a>(&'a Table);

impl Headers<'_> {
    fn get(&self, name: &str) -> Option<Header> {
        self.0.get(name).filter(|value| !matches!(value, Header::Void))
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value
            .as_str()
            .map(|text| Some(text.to_owned()))
            .ok_or_else(|| format!("the header {name:?} is no text"))
    }

    fn whole(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_i64().map(Some).ok_or_else(|| format!("the header {name:?} is no whole number"))
    }

    fn time(&self, name: &str) -> Result<Option<SystemTime>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        time(&text).map(Some).ok_or_else(|| format!("the header {name:?} is no time"))
    }

    fn limits(&self) -> Result<[Option<Duration>; 2], String> {
        let wrong = || "the header \"timelimit\" is no pair of seconds".to_owned();
        let limits = match self.get("timelimit") {
            None => return Ok([None; 2]),
            Some(Header::Array(limits)) => limits,
            Some(_) => return Err(wrong()),
        };
        let mut read = [None; 2];
        for (place, limit) in read.iter_mut().zip(limits.iter()) {
            *place = match &limit {
                Header::Void => None,
                limit => Some(seconds(limit).ok_or_else(wrong)?),
            };
        }
        Ok(read)
    }

    fn stamps(&self) -> Vec<(String, Header)> {
        let names = ["stamped_headers", "stamps"];
        names.iter().filter_map(|name| Some(((*name).to_owned(), self.0.get(name)?))).collect()
    }
}

fn seconds(value: &Header) -> Option<Duration> {
    let seconds = match value {
        Header::F64(seconds) => *seconds,
        Header::F32(seconds) => f64::from(*seconds),
        whole => whole.as_i64()? as f64,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(change: impl FnOnce(&mut Table)) -> Properties {
        let mut headers = Table::new();
        headers.insert("task", "t.add").unwrap();
        headers.insert("id", "1").unwrap();
        change(&mut headers);
        Properties { headers: Some(headers), ..Properties::default() }
    }

    #[test]
    fn what_is_no_call_is_told() {
        let body =
            json!([[1], {"b": 2}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]);
        let call = read(message(|_| ()), body.clone()).unwrap();
        assert_eq!((call.root_id(), call.retries, call.arguments.args.len()), ("1", 0, 1));
        let refused = |properties, body| read(properties, body).unwrap_err();
        let without = |name: &'static str| message(|headers| assert!(headers.remove(name)));
        assert_eq!(refused(without("id"), body.clone()), "there is no header \"id\"");
        assert_eq!(refused(without("task"), body.clone()), "there is no header \"task\"");
        for (name, value, why) in [
            ("task", Header::I32(7), "the header \"task\" is no text"),
            ("retries", Header::Bool(true), "the header \"retries\" is no whole number"),
            ("eta", Header::LongString("soon".into()), "the header \"eta\" is no time"),
            ("timelimit", Header::I32(1), "the header \"timelimit\" is no pair of seconds"),
        ] {
            let wrong = message(|headers| headers.insert(name, value).unwrap());
            assert_eq!(refused(wrong, body.clone()), why);
        }
        for (body, why) in [
            (json!({}), "the body is no list"),
            (json!([[], {}]), "the body is no list of three"),
            (json!([{}, {}, {}]), "the positional arguments are no list"),
            (json!([[], [], {}]), "the named arguments are no object"),
            (json!([[], {}, []]), "what follows is no object"),
            (json!([[], {}, {"chain": [{"task": 7}]}]), "\"chain\" is no list of signatures"),
            (json!([[], {}, {"chain": {"task": "t.add"}}]), "\"chain\" is no list of signatures"),
            (
                json!([[], {}, {"errbacks": [{"task": "x", "args": 1}]}]),
                "\"errbacks\" is no list of signatures",
            ),
            (json!([[], {}, {"chord": "x"}]), "\"chord\" is no signature"),
        ] {
            assert_eq!(refused(message(|_| ()), body), why);
        }
    }

    #[test]
    fn times_come_with_an_offset_or_in_utc() {
        let expected = time("2026-01-02T03:04:05.5+00:00").unwrap();
        for text in ["2026-01-02T03:04:05.500000", "2026-01-02T04:04:05.5+01:00", "2026-01-02T03:04:05.5Z"] {
            assert_eq!(time(text), Some(expected), "{text}");
        }
        assert!(time("9999-12-31T23:59:59+00:00").is_some());
        assert_eq!(time("2026-01-02"), None);
    }
}
