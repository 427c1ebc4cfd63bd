//! A task in version 2 of Celery's message protocol
//! (<https://docs.celeryq.dev/en/stable/internals/protocol.html>).

use amqp_client::{Message, Properties, ShortString, Table, Value};
use serde_json::{Value as Json, json};

use super::python_repr::python_repr;
use crate::{error::Error, message::value_json::from_json};

/// A task to send.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) id: String,
    /// The name under which workers have registered it.
    pub(super) name: String,
    /// A JSON array.
    pub(super) args: Json,
    /// A JSON object.
    pub(super) kwargs: Json,
    /// Not to be run before, as an ISO 8601 time.
    pub(super) eta: Option<String>,
    /// Not to be run after, likewise.
    pub(super) expires: Option<String>,
    pub(super) priority: u8,
    /// The queue for the result; empty if there is to be none.
    pub(super) reply_to: String,
    pub(super) ignore_result: bool,
}

impl Task {
    /// The message that Celery would send.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text that is too long, or arguments that are nested too deep.
    pub(super) fn message(&self) -> Result<Message, Error> {
        let options = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        let body = json!([self.args, self.kwargs, options]).to_string();
        let short = |what, text: &str| {
            ShortString::new(what, text).map_err(|error| Error::Usage(error.to_string())).map(Some)
        };
        let properties = Properties {
            content_type: short("content type", "application/json")?,
            content_encoding: short("content encoding", "utf-8")?,
            headers: Some(self.headers()?),
            delivery_mode: Some(amqp_codec::PERSISTENT),
            priority: Some(self.priority),
            correlation_id: short("task id", &self.id)?,
            reply_to: short("reply queue", &self.reply_to)?,
            ..Properties::default()
        };
        Ok(Message::with_properties(body, properties))
    }

    fn headers(&self) -> Result<Table, Error> {
        // Python shows a tuple.
        let args = python_repr(&self.args);
        let args = match self.args.as_array().map(Vec::len) {
            Some(1) => format!("({},)", args.trim_start_matches('[').trim_end_matches(']')),
            _ => format!(
                "({})",
                args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(&args)
            ),
        };
        let headers = json!({
            "lang": "py",
            "task": self.name,
            "id": self.id,
            "shadow": null,
            "eta": self.eta,
            "expires": self.expires,
            "group": null,
            "group_index": null,
            "retries": 0,
            "timelimit": [null, null],
            "root_id": self.id,
            "parent_id": null,
            "argsrepr": args,
            "kwargsrepr": python_repr(&self.kwargs),
            "origin": origin(),
            "ignore_result": self.ignore_result,
            "replaced_task_nesting": 0,
            "stamped_headers": null,
            "stamps": {},
        });
        match from_json(&headers).map_err(Error::Usage)? {
            Value::Table(table) => Ok(table),
            _ => Ok(Table::default()),
        }
    }
}

/// The sender, as Celery names itself: `gen1234@host`.
fn origin() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("amqp{}@{host}", std::process::id())
}
