//! A task that is to be sent, or to run after another one.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    celery::tasks::{app::Celery, message::iso_time},
    error::Error,
};

/// A call of a task, with its options. [`Celery::task`] makes it; [`send`](Self::send) sends it,
/// and [`Chain`](crate::celery::Chain), [`Group`](crate::celery::Group) and [`link`](Self::link)
/// make it a part of something larger.
#[derive(Clone, Debug)]
#[must_use = "a task is sent by `send`"]
pub struct Signature {
    pub(super) app: Celery,
    pub(super) name: String,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    /// The first argument that has no JSON form.
    wrong: Option<(&'static str, String)>,
    is_immutable: bool,
    id: Option<String>,
    pub(super) declares: bool,
    pub(super) queue: Option<String>,
    pub(super) priority: Option<u8>,
    pub(super) eta: Option<SystemTime>,
    pub(super) countdown: Option<Duration>,
    pub(super) expires: Option<Duration>,
    pub(super) time_limits: [Option<Duration>; 2],
    pub(super) ignores_result: bool,
    links: Vec<Signature>,
    error_links: Vec<Signature>,
}

impl Celery {
    /// Begins a call of a task by its name.
    pub fn task(&self, name: impl Into<String>) -> Signature {
        Signature::new(self.clone(), name.into())
    }
}

impl Signature {
    fn new(app: Celery, name: String) -> Self {
        Signature {
            app,
            name,
            args: Vec::new(),
            kwargs: Map::new(),
            wrong: None,
            is_immutable: false,
            id: None,
            declares: true,
            queue: None,
            priority: None,
            eta: None,
            countdown: None,
            expires: None,
            time_limits: [None; 2],
            ignores_result: false,
            links: Vec::new(),
            error_links: Vec::new(),
        }
    }

    /// Sets the positional arguments: a tuple, a list, or `()`, which is the default. What is no
    /// list in JSON is an error of [`send`](Self::send).
    pub fn args(mut self, args: impl Serialize) -> Self {
        match serde_json::to_value(args) {
            Ok(Value::Array(args)) => self.args = args,
            Ok(Value::Null) => self.args = Vec::new(),
            Ok(_) => self.wrong = Some(("positional arguments", "they are no list".to_owned())),
            Err(error) => self.wrong = Some(("positional arguments", error.to_string())),
        }
        self
    }

    /// Sets the named arguments: a struct or a map. Default: none. What is no object in JSON is an
    /// error of [`send`](Self::send).
    pub fn kwargs(mut self, kwargs: impl Serialize) -> Self {
        match serde_json::to_value(kwargs) {
            Ok(Value::Object(kwargs)) => self.kwargs = kwargs,
            Ok(_) => self.wrong = Some(("named arguments", "they are no map".to_owned())),
            Err(error) => self.wrong = Some(("named arguments", error.to_string())),
        }
        self
    }

    /// Sends it to this queue, whatever the routes say.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Sets whether the queue is declared, durable, before it is sent. Default: true. Otherwise a
    /// queue that is not there is an error of [`send`](Self::send), whose outcome is
    /// [`Outcome::Unroutable`](crate::Outcome::Unroutable).
    pub fn declare(mut self, declare: bool) -> Self {
        self.declares = declare;
        self
    }

    /// Sets the task's id, of up to 255 bytes. Default: a random UUID at each
    /// [`send`](Self::send).
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the priority: 0 to 9, or to the queue's `x-max-priority`. On a Redis 0 comes first.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Has it run after this time at the earliest. The worker keeps it until then.
    pub fn countdown(mut self, countdown: Duration) -> Self {
        (self.countdown, self.eta) = (Some(countdown), None);
        self
    }

    /// Has it run at this time at the earliest. The worker keeps it until then.
    pub fn eta(mut self, eta: SystemTime) -> Self {
        (self.eta, self.countdown) = (Some(eta), None);
        self
    }

    /// Revokes it when it has not begun after this time. A broker drops it then, too.
    pub fn expires(mut self, expires: Duration) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Limits the time that it may run: after the soft limit it is told, after the hard one it is
    /// ended. Default: what the worker has set.
    pub fn time_limits(mut self, soft: Option<Duration>, hard: Option<Duration>) -> Self {
        self.time_limits = [hard, soft];
        self
    }

    /// Has nobody store its result. Default: as the application.
    pub fn ignore_result(mut self, ignore: bool) -> Self {
        self.ignores_result = ignore;
        self
    }

    /// Runs it as it is where it follows another task; otherwise the result of that comes before
    /// its positional arguments. Celery calls such a signature immutable.
    pub fn immutable(mut self) -> Self {
        self.is_immutable = true;
        self
    }

    /// Has another task run when this one has succeeded, with its result as the first argument.
    pub fn link(mut self, then: Signature) -> Self {
        self.links.push(then);
        self
    }

    /// Has another task run when this one has failed, with its id as the first argument.
    pub fn link_error(mut self, then: Signature) -> Self {
        self.error_links.push(then);
        self
    }

    /// The id to be sent with.
    pub(super) fn sent_id(&self) -> String {
        self.id.clone().unwrap_or_else(|| Uuid::new_v4().to_string())
    }

    /// The positional and the named arguments.
    pub(super) fn arguments(&self) -> Result<(&[Value], &Map<String, Value>), Error> {
        match &self.wrong {
            None => Ok((&self.args, &self.kwargs)),
            Some((what, why)) => {
                let source = serde::ser::Error::custom(format_args!("task {:?}: {why}", self.name));
                Err(Error::Encode { what, source })
            }
        }
    }

    pub(super) fn queue_name(&self) -> &str {
        self.queue.as_deref().unwrap_or_else(|| self.app.route(&self.name))
    }

    /// The tasks that run after it succeeds, and after it fails, as they are embedded.
    pub(super) fn followers(&self) -> Result<[Value; 2], Error> {
        let embedded = |followers: &[Signature]| {
            let all: Result<Vec<_>, _> = followers.iter().map(|one| one.embedded(None)).collect();
            Ok::<_, Error>(Some(all?).filter(|all| !all.is_empty()).map_or(Value::Null, Value::Array))
        };
        Ok([embedded(&self.links)?, embedded(&self.error_links)?])
    }

    /// Returns it as a part of another task's message, with an id if it has one already.
    pub(super) fn embedded(&self, id: Option<&str>) -> Result<Value, Error> {
        let (args, kwargs) = self.arguments()?;
        let [links, error_links] = self.followers()?;
        let mut options = Map::new();
        let seconds = |time: Duration| json!(time.as_secs_f64());
        let known = [
            ("task_id", id.map(Value::from)),
            ("reply_to", id.and_then(|_| self.app.reply_to(self.ignores_result)).map(Value::from)),
            ("queue", Some(self.queue_name().into())),
            ("priority", self.priority.map(Value::from)),
            ("countdown", self.countdown.map(seconds)),
            ("eta", self.eta.map(|eta| iso_time(eta).into())),
            ("expires", self.expires.map(seconds)),
            ("time_limit", self.time_limits[0].map(seconds)),
            ("soft_time_limit", self.time_limits[1].map(seconds)),
            ("ignore_result", self.ignores_result.then_some(true.into())),
            ("link", Some(links).filter(|links| !links.is_null())),
            ("link_error", Some(error_links).filter(|links| !links.is_null())),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                options.insert(name.to_owned(), value);
            }
        }
        Ok(json!({
            "task": self.name, "args": args, "kwargs": kwargs, "options": options,
            "subtask_type": null, "immutable": self.is_immutable,
        }))
    }
}
