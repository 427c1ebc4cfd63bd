//! Sends a task to Celery's workers, and waits for its result.
//!
//! The result is one line of JSON on standard output. When the task fails, its exception is one
//! line on standard error, and the exit code is 1. Workers need `rpc://` as their result backend.
//!
//! ```text
//! celery_send amqp://127.0.0.1// proj.add '[2, 3]'
//! celery_send redis://127.0.0.1/0 proj.resize '["a.png"]' --kwargs '{"width": 100}' --timeout 60
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use messaging::{Transport, celery::Celery};
use serde_json::{Map, Value};

mod terminal;

/// Sends a task to Celery's workers, and waits for its result.
#[derive(Parser)]
struct Arguments {
    /// The broker: rabbit://, amqp://, amqps:// or redis://.
    url: String,
    /// The name of the task.
    task: String,
    /// Its positional arguments, a list in JSON.
    #[arg(default_value = "[]", value_parser = json::<Vec<Value>>)]
    args: Json<Vec<Value>>,
    /// Its named arguments, an object in JSON.
    #[arg(long, default_value = "{}", value_parser = json::<Map<String, Value>>)]
    kwargs: Json<Map<String, Value>>,
    /// The queue.
    #[arg(long, default_value = "celery")]
    queue: String,
    /// Runs it after so many seconds.
    #[arg(long, value_parser = terminal::seconds)]
    countdown: Option<Duration>,
    /// The time to wait for the result, in seconds; 0 does not wait, and prints the task's id.
    #[arg(long, default_value = "10", value_parser = terminal::seconds)]
    timeout: Duration,
}

/// An argument in JSON.
#[derive(Clone)]
struct Json<T>(T);

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<Json<T>, serde_json::Error> {
    serde_json::from_str(text).map(Json)
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    terminal::end("celery_send", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let transport = Transport::connect(&arguments.url).await?;
    let app = Celery::new(&transport);
    let task = app.task(arguments.task).args(arguments.args.0).kwargs(arguments.kwargs.0);
    let mut task = task.queue(arguments.queue).ignore_result(arguments.timeout.is_zero());
    if let Some(countdown) = arguments.countdown {
        task = task.countdown(countdown);
    }
    let sent = task.send::<Value>().await?;
    let shown = match arguments.timeout {
        Duration::ZERO => sent.id().to_owned(),
        timeout => sent.get(timeout).await?.to_string(),
    };
    writeln!(io::stdout(), "{shown}")?;
    transport.close().await?;
    Ok(())
}
