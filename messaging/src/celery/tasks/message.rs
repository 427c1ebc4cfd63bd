//! The message of a task: Celery's second message protocol.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use amqp_client::{Array, Table, Value as Header};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::{celery::tasks::repr, error::Error, publish::options::PublishOptions};

/// The name of the host that this process runs on.
pub(crate) static HOST: LazyLock<String> = LazyLock::new(|| {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "localhost" } else { host }.to_owned()
});

/// The name of this process as the origin of tasks.
static ORIGIN: LazyLock<String> = LazyLock::new(|| format!("gen{}@{}", std::process::id(), &*HOST));

/// The tasks that follow on a task, as its message embeds them; null where there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers {
    pub(crate) callbacks: Value,
    pub(crate) errbacks: Value,
    /// The tasks that follow in its chain, the next one last.
    pub(crate) chain: Value,
    pub(crate) chord: Value,
}

/// A task that is about to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Map<String, Value>,
    pub(crate) followers: Followers,
    pub(crate) queue: String,
    /// Set when the queue is declared before.
    pub(crate) declares: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) eta: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) retries: u32,
    /// The hard limit, then the soft one.
    pub(crate) time_limits: [Option<Duration>; 2],
    /// The id of the group that it belongs to, and its place there.
    pub(crate) group: Option<String>,
    pub(crate) group_index: Option<i64>,
    /// The task that began it all; `None` when it is this one.
    pub(crate) root_id: Option<String>,
    pub(crate) parent_id: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) ignores_result: bool,
    /// Headers of the message before, which replace those of the same name.
    pub(crate) kept: Vec<(String, Header)>,
}

impl Outgoing {
    /// Returns the options of its message.
    ///
    /// # Errors
    /// An id over 255 bytes.
    pub(crate) fn options(&self) -> Result<PublishOptions, Error> {
        let mut options = PublishOptions::new()
            .correlation_id(&self.id)?
            .reply_to(self.reply_to.as_deref().unwrap_or_default())?;
        if let Some(priority) = self.priority {
            options = options.priority(priority);
        }
        if let Some(expires) = self.expires {
            let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
            // RabbitMQ refuses a longer one; the worker then finds that the task has expired.
            if let Ok(millis) = u32::try_from(left.as_micros().div_ceil(1000)) {
                options = options.expiration(Duration::from_millis(millis.into()));
            }
        }
        for (name, value) in self.headers()? {
            options = options.header(name, value)?;
        }
        for (name, value) in &self.kept {
            options = options.header(name, value.clone())?;
        }
        Ok(options)
    }

    /// Returns the body of its message.
    pub(crate) fn body(&self) -> Value {
        let Followers { callbacks, errbacks, chain, chord } = &self.followers;
        let followers = json!({"callbacks": callbacks, "errbacks": errbacks, "chain": chain, "chord": chord});
        json!([self.args, self.kwargs, followers])
    }

    fn headers(&self) -> Result<[(&'static str, Header); 19], Error> {
        let mut limits = Array::new();
        for limit in self.time_limits {
            let pushed =
                limits.push(limit.map_or(Header::Void, seconds)).map_err(amqp_client::Error::Invalid);
            pushed.map_err(Error::broker("set the header \"timelimit\""))?;
        }
        Ok([
            ("lang", text("py")),
            ("task", text(&self.name)),
            ("id", text(&self.id)),
            ("shadow", Header::Void),
            ("eta", optional(self.eta.map(iso_time).as_deref())),
            ("expires", optional(self.expires.map(iso_time).as_deref())),
            ("group", optional(self.group.as_deref())),
            ("group_index", self.group_index.map_or(Header::Void, whole)),
            ("retries", whole(self.retries.into())),
            ("timelimit", Header::Array(limits)),
            ("root_id", text(self.root_id.as_deref().unwrap_or(&self.id))),
            ("parent_id", optional(self.parent_id.as_deref())),
            ("argsrepr", text(&repr::tuple(&self.args))),
            ("kwargsrepr", text(&repr::dictionary(&self.kwargs))),
            ("origin", text(&ORIGIN)),
            ("ignore_result", Header::Bool(self.ignores_result)),
            ("replaced_task_nesting", Header::I32(0)),
            ("stamped_headers", Header::Void),
            ("stamps", Header::Table(Table::new())),
        ])
    }
}

/// The last second that Python's calendar has, since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// Returns a time as Python's `isoformat` writes one in UTC. One after the year 9999, which Python
/// does not have, is the end of that.
pub(crate) fn iso_time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs().min(LAST_SECOND).cast_signed();
    let time = DateTime::<Utc>::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// Returns the time after this pause, at the latest the end of Python's calendar.
pub(crate) fn after(pause: Duration) -> SystemTime {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    SystemTime::now().checked_add(pause).map_or(last, |time| time.min(last))
}

fn text(text: &str) -> Header {
    Header::LongString(text.into())
}

fn optional(value: Option<&str>) -> Header {
    value.map_or(Header::Void, text)
}

/// A number in as few octets as Python takes.
fn whole(number: i64) -> Header {
    i32::try_from(number).map_or(Header::I64(number), Header::I32)
}

/// A time limit: a whole number where it is one.
fn seconds(time: Duration) -> Header {
    match i64::try_from(time.as_secs()) {
        Ok(seconds) if time.subsec_nanos() == 0 => whole(seconds),
        _ => Header::F64(time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_pythons_calendar_does_not_have_is_its_last_one() {
        let written = |seconds| iso_time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(written(1_767_323_045), "2026-01-02T03:04:05.000000+00:00");
        for seconds in [LAST_SECOND, LAST_SECOND + 1, 1 << 62] {
            assert_eq!(written(seconds), "9999-12-31T23:59:59.000000+00:00");
        }
        assert_eq!(iso_time(after(Duration::MAX)), "9999-12-31T23:59:59.000000+00:00");
    }
}
