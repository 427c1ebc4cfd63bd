//! `amqp celery send`

use std::time::Duration;

use amqp_client::{Confirmation, Queue, Route};
use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;
use tokio::time::timeout;

use super::task::Task;
use crate::{
    commands::receiving::receive::seconds,
    connection::{
        arguments::ConnectionArguments,
        target::{Target, close},
    },
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
    let task = task(&arguments)?;
    let message = task.message()?;
    let target = Target::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let failed = || Error::broker("send the task");
    let sending = async {
        if arguments.declare {
            channel
                .declare(Queue::durable(&arguments.queue))
                .await
                .map_err(Error::broker("declare the queue"))?;
        }
        let publisher = channel.publisher().await.map_err(failed())?.with_timeout(DEADLINE);
        let route = Route::new("", &arguments.queue).mandatory(true);
        let confirm = publisher.publish(route, &message).await.map_err(failed())?;
        match timeout(DEADLINE, confirm).await {
            Ok(confirmation) => confirmation.map_err(failed()),
            Err(_) => Err(Error::Nothing("the broker does not confirm the task".to_owned())),
        }
    };
    match context.interrupt.or(sending).await? {
        Confirmation::Ack => {}
        Confirmation::Nack => return Err(Error::NotTaken { number: 1, why: "it was nacked".to_owned() }),
        Confirmation::Returned(_) => {
            let why = format!("there is no queue {:?}; --declare makes it", arguments.queue);
            return Err(Error::NotTaken { number: 1, why });
        }
    }
    screen.object(&Sent { id: &task.id, queue: &arguments.queue }, &task.id)?;
    close(&connection).await;
    Ok(Exit::Done)
}

fn task(arguments: &Arguments) -> Result<Task, Error> {
    let now = Utc::now();
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, false);
    let after = |duration: Duration| {
        let moment =
            chrono::TimeDelta::from_std(duration).ok().and_then(|delta| now.checked_add_signed(delta));
        moment.map(text).ok_or_else(|| Error::Usage("the time is too far away".to_owned()))
    };
    let eta = match arguments.eta {
        Some(eta) => Some(text(eta.to_utc())),
        None => arguments.countdown.map(after).transpose()?,
    };
    Ok(Task {
        id: arguments.id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        name: arguments.task.clone(),
        args: arguments.args.clone(),
        kwargs: Json::Object(table_to_json(&table_of(&arguments.named)?)),
        eta,
        expires: arguments.expires.map(after).transpose()?,
        priority: arguments.priority,
        reply_to: String::new(),
        ignore_result: arguments.ignore_result,
    })
}
