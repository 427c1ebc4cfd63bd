//! Runs tasks of Celery, which are sent in any language.
//!
//! It has `proj.add(a, b=0)`, `proj.sleep(seconds)`, `proj.fail(text)`, which raises a
//! `ValueError`, and `proj.retry(times, countdown=0)`, which succeeds after so many retries. It
//! prints `ready` on standard output when it runs tasks, and stops after SIGTERM, SIGINT or `celery
//! control shutdown`, when the tasks that run have ended.
//!
//! ```text
//! celery_worker amqp://guest:guest@127.0.0.1:5672/ --queue celery --concurrency 8
//! celery_send amqp://guest:guest@127.0.0.1:5672/ proj.add '[2, 3]'
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error; by default warnings.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use messaging::{
    Queue, TransportOptions,
    celery::{Celery, Raise, Task, TaskContext, TaskFailure, WorkerBuilder},
};
use serde::Deserialize;
use serde_json::Number;

mod terminal;

/// Runs tasks of Celery until it is told to end.
#[derive(Parser)]
struct Arguments {
    /// The broker: amqp://, amqps:// or redis://.
    url: String,
    /// The queues to consume from.
    #[arg(long, default_value = "celery")]
    queue: Vec<String>,
    /// The name of the worker, by convention `name@host`.
    #[arg(long)]
    name: Option<String>,
    /// The number of tasks that run at once; by default as many as there are cores.
    #[arg(long)]
    concurrency: Option<u16>,
    /// Acknowledges messages when their tasks have ended.
    #[arg(long)]
    acks_late: bool,
    /// Emits events of tasks from the start.
    #[arg(long)]
    events: bool,
}

#[derive(Deserialize)]
struct Add {
    a: Number,
    #[serde(default = "zero")]
    b: Number,
}

fn zero() -> Number {
    0.into()
}

#[derive(Deserialize)]
struct Sleep {
    seconds: f64,
}

#[derive(Deserialize)]
struct Fail {
    text: String,
}

#[derive(Deserialize)]
struct Retry {
    times: u32,
    #[serde(default)]
    countdown: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("celery_worker", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut signals = terminal::Signals::catch()?;
    let transport = TransportOptions::new().name("celery_worker").connect(&arguments.url).await?;
    let app = Celery::new(&transport);
    let worker = app.worker().acks_late(arguments.acks_late).task_events(arguments.events);
    let mut worker = tasks().into_iter().fold(worker, WorkerBuilder::task);
    for queue in arguments.queue {
        worker = worker.queue(Queue::durable(queue));
    }
    if let Some(name) = arguments.name {
        worker = worker.name(name);
    }
    if let Some(tasks) = arguments.concurrency {
        worker = worker.concurrency(tasks);
    }
    let mut worker = worker.start().await?;
    writeln!(io::stdout(), "ready")?;
    io::stdout().flush()?;
    let ended = tokio::select! {
        ended = worker.wait() => ended,
        () = signals.recv() => {
            worker.stop().await;
            Ok(())
        }
    };
    transport.close().await?;
    Ok(ended?)
}

fn tasks() -> [Task; 4] {
    let add = Task::new("proj.add", |_, Add { a, b }| async move {
        let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b)).map(Number::from);
        let sum = || Number::from_f64(a.as_f64()? + b.as_f64()?);
        whole.or_else(sum).ok_or_else(|| Raise::new("OverflowError", "the sum is too large"))
    });
    let sleep = Task::new("proj.sleep", |task: TaskContext, Sleep { seconds }| async move {
        let time = Duration::try_from_secs_f64(seconds)?;
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(seconds),
            () = task.soft_limit().exceeded() => Err(Raise::new("SoftTimeLimitExceeded", "it slept too long")),
        }
    });
    let fail = Task::new("proj.fail", |_, Fail { text }| async move {
        Err::<(), Raise>(TaskFailure::new("ValueError", text).module("builtins").into())
    });
    let retry = Task::new("proj.retry", |task: TaskContext, Retry { times, countdown }| async move {
        if task.retries() >= times {
            return Ok(task.retries());
        }
        let pause = Duration::try_from_secs_f64(countdown)?;
        Err(Raise::from(task.retry().countdown(pause).max_retries(times)))
    });
    [add, sleep, fail, retry]
}
