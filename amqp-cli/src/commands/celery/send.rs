//! `amqp celery send`

use std::time::{Duration, SystemTime};

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use clap::Args;
use messaging::{Outcome, RetryPolicy, celery::Celery};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    commands::receiving::receive::seconds,
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    message::{
        assignment::{Assignment, table_of},
        value_json::table_to_json,
    },
    output::{arguments::OutputArguments, screen::Screen},
};

/// Sends a task to Celery's workers, and prints its id
///
/// Exit code 5 when there is no such queue: no worker has ever run, unless --declare makes it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The task, as workers have registered it: module.name
    task: String,

    /// Its named arguments; KEY:=JSON for other types than text
    #[arg(value_name = "KEY=TEXT")]
    named: Vec<Assignment>,

    /// Its positional arguments, a JSON array
    #[arg(short, long, value_name = "JSON", default_value = "[]", value_parser = array)]
    args: Json,

    /// The queue
    #[arg(short, long, default_value = "celery")]
    queue: String,

    /// Declares the queue as Celery does, durable
    #[arg(long)]
    declare: bool,

    /// The id of the task [default: a random one]
    #[arg(long)]
    id: Option<String>,

    /// Runs it after so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "eta")]
    countdown: Option<Duration>,

    /// Does not run it before this time, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    eta: Option<DateTime<FixedOffset>>,

    /// Does not run it after so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    expires: Option<Duration>,

    /// The priority
    #[arg(long, value_name = "0-255", default_value_t = 0)]
    priority: u8,

    /// Has workers keep no result
    #[arg(long)]
    ignore_result: bool,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// The output.
#[derive(Serialize)]
struct Sent<'a> {
    id: &'a str,
    queue: &'a str,
}

/// The time for the broker to confirm.
const DEADLINE: Duration = Duration::from_secs(60);

fn array(text: &str) -> Result<Json, String> {
    match serde_json::from_str(text) {
        Ok(array @ Json::Array(_)) => Ok(array),
        Ok(_) => Err("it is no JSON array".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

fn time(text: &str) -> Result<DateTime<FixedOffset>, String> {
    DateTime::parse_from_rfc3339(text).map_err(|error| error.to_string())
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let eta = eta(&arguments)?;
    let named = table_to_json(&table_of(&arguments.named)?);
    let target = Target::of(&arguments.connection)?;
    let transport = context.interrupt.or(target.transport()).await?;
    let app = Celery::new(&transport).results_elsewhere().retry(RetryPolicy::default().deadline(DEADLINE));
    let mut task = app
        .task(&arguments.task)
        .args(&arguments.args)
        .kwargs(named)
        .queue(&arguments.queue)
        .declare(arguments.declare)
        .priority(arguments.priority)
        .ignore_result(arguments.ignore_result);
    if let Some(id) = &arguments.id {
        task = task.id(id);
    }
    if let Some(eta) = eta {
        task = task.eta(eta);
    }
    if let Some(expires) = arguments.expires {
        task = task.expires(expires);
    }
    let sending = async { task.send::<Json>().await.map_err(|error| failed(error, &arguments.queue)) };
    let sent = context.interrupt.or(sending).await?;
    screen.object(&Sent { id: sent.id(), queue: &arguments.queue }, sent.id())?;
    // The task is with the broker: one that does not answer any more is no failure.
    let _ = transport.close().await;
    Ok(Exit::Done)
}

fn failed(error: messaging::Error, queue: &str) -> Error {
    let outcome = match &error {
        messaging::Error::Undelivered(undelivered) => Some(undelivered.outcome),
        _ => None,
    };
    let why = match outcome {
        Some(Outcome::Unroutable) => format!("there is no queue {queue:?}; --declare makes it"),
        Some(Outcome::Rejected) => "it was rejected".to_owned(),
        _ => return Error::messaging("send the task")(error),
    };
    Error::NotTaken { number: 1, why }
}

/// Returns when the task may run, after it is clear that the calendar has that time and the time
/// at which it expires.
fn eta(arguments: &Arguments) -> Result<Option<SystemTime>, Error> {
    let now = Utc::now();
    let after = |duration: Duration| {
        let moment = TimeDelta::from_std(duration).ok().and_then(|delta| now.checked_add_signed(delta));
        moment.map(SystemTime::from).ok_or_else(|| Error::Usage("the time is too far away".to_owned()))
    };
    arguments.expires.map(after).transpose()?;
    let counted = arguments.countdown.map(after).transpose()?;
    Ok(arguments.eta.map(SystemTime::from).or(counted))
}
