//! Inspects and controls Celery's workers, and nodes of this library, from the command line.
//!
//! Each answer is one line of JSON on standard output as it comes, `{"node": answer}`. Without any
//! answer the exit code is 69, as with `celery inspect`. An error is one line on standard error,
//! and the exit code is 1 then. `events` prints the events of workers and tasks instead, a line
//! each, until it is interrupted.
//!
//! ```text
//! celery_inspect amqp://127.0.0.1/ ping
//! celery_inspect amqp://127.0.0.1/ --destination w1@host rate-limit tasks.add 10/m
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use messaging::{
    Transport,
    celery::{CeleryCommand, Consume, Control, Revoke},
    mailbox::Matcher,
};
use serde_json::{Map, Value, json};

mod terminal;

const NAME: &str = "celery_inspect";

/// The exit code when no node answers: the service is unavailable (`EX_UNAVAILABLE`).
const NO_ANSWER: u8 = 69;

/// Inspects and controls Celery's workers.
#[derive(Parser)]
struct Arguments {
    /// The broker: rabbit://, amqp://, amqps:// or memory://.
    url: String,
    /// The nodes that are asked, separated by commas; all of them by default.
    #[arg(long, short, global = true, value_delimiter = ',')]
    destination: Option<Vec<String>>,
    /// Asks the nodes whose names fit this pattern of shells.
    #[arg(long, global = true)]
    pattern: Option<String>,
    /// The time to wait for answers, in seconds.
    #[arg(long, short, global = true, default_value = "1", value_parser = terminal::seconds)]
    timeout: Duration,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Asks whether workers are there.
    Ping,
    /// Statistics.
    Stats,
    /// The tasks that run.
    Active {
        /// Shows arguments as texts.
        #[arg(long)]
        safe: bool,
    },
    /// The tasks that wait to run.
    Reserved,
    /// The tasks that wait for their time.
    Scheduled,
    /// The tasks that workers can run, with these attributes.
    Registered { attributes: Vec<String> },
    /// The ids of revoked tasks.
    Revoked,
    /// The queues that workers consume from.
    ActiveQueues,
    /// The settings of workers.
    Conf {
        /// Shows settings that have their default values too.
        #[arg(long)]
        with_defaults: bool,
    },
    /// Tasks by their ids.
    QueryTask { ids: Vec<String> },
    /// A report for bug reports.
    Report,
    /// The logical time.
    Clock,
    /// A sample of the memory used.
    Memsample,
    /// Revokes tasks.
    Revoke {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Ends those that run by this signal.
        #[arg(long)]
        terminate: Option<String>,
    },
    /// Revokes tasks by a stamped header and its values.
    RevokeByStampedHeaders { header: String, values: Vec<String> },
    /// Ends tasks by a signal.
    Terminate {
        signal: String,
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Sets how often a task may run, for example 10/m.
    RateLimit { task: String, rate: String },
    /// Sets how many seconds a task may run.
    TimeLimit { task: String, soft: f64, hard: Option<f64> },
    /// Makes workers emit events of tasks.
    EnableEvents,
    /// Makes workers emit no events of tasks.
    DisableEvents,
    /// Makes workers emit a heartbeat now.
    Heartbeat,
    /// Makes workers consume from a queue.
    AddConsumer {
        queue: String,
        exchange: Option<String>,
        #[arg(default_value = "direct")]
        exchange_type: String,
        routing_key: Option<String>,
    },
    /// Makes workers no longer consume from a queue.
    CancelConsumer { queue: String },
    /// Adds processes to the pools.
    PoolGrow {
        #[arg(default_value_t = 1)]
        n: u32,
    },
    /// Takes processes from the pools.
    PoolShrink {
        #[arg(default_value_t = 1)]
        n: u32,
    },
    /// Sets the most and the fewest processes.
    Autoscale { max: u32, min: u32 },
    /// Starts the pools again.
    PoolRestart,
    /// Stops workers, which do not answer.
    Shutdown,
    /// Prints events; the routing key says which.
    Events {
        #[arg(default_value = "#")]
        routing_key: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            terminal::failed(NAME, "no node answered in time");
            ExitCode::from(NO_ANSWER)
        }
        Err(error) => terminal::failed(NAME, &terminal::chain(&*error)),
    }
}

/// Returns whether a node answered, or need not.
async fn run(arguments: Arguments) -> Result<bool, Box<dyn Error>> {
    let transport = Transport::connect(&arguments.url).await?;
    let control = transport.celery();
    let answered = inspect(&control, &arguments).await;
    transport.close().await?;
    answered
}

async fn inspect(control: &Control, arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    fn texts(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }
    let to = arguments;
    match &arguments.command {
        Command::Ping => ask(to, control.ping()).await,
        Command::Stats => ask(to, control.stats()).await,
        Command::Active { safe } => ask(to, control.active(*safe)).await,
        Command::Reserved => ask(to, control.reserved()).await,
        Command::Scheduled => ask(to, control.scheduled()).await,
        Command::Registered { attributes } => ask(to, control.registered(&texts(attributes))).await,
        Command::Revoked => ask(to, control.revoked()).await,
        Command::ActiveQueues => ask(to, control.active_queues()).await,
        Command::Conf { with_defaults } => ask(to, control.conf(*with_defaults)).await,
        Command::QueryTask { ids } => ask(to, control.query_task(&texts(ids))).await,
        Command::Report => ask(to, control.report()).await,
        Command::Clock => ask(to, control.clock()).await,
        Command::Memsample => ask(to, control.memsample()).await,
        Command::Revoke { ids, terminate } => {
            let how = terminate.iter().fold(Revoke::new(), Revoke::terminate);
            ask(to, control.revoke(&texts(ids), &how)).await
        }
        Command::RevokeByStampedHeaders { header, values } => {
            let headers = Map::from_iter([(header.clone(), json!(values))]);
            ask(to, control.revoke_by_stamped_headers(&headers, &Revoke::new())).await
        }
        Command::Terminate { signal, ids } => ask(to, control.terminate(&texts(ids), signal)).await,
        Command::RateLimit { task, rate } => ask(to, control.rate_limit(task, rate)).await,
        Command::TimeLimit { task, soft, hard } => {
            ask(to, control.time_limit(task, Some(*soft), *hard)).await
        }
        Command::EnableEvents => ask(to, control.enable_events()).await,
        Command::DisableEvents => ask(to, control.disable_events()).await,
        Command::Heartbeat => ask(to, control.heartbeat()).await,
        Command::AddConsumer { queue, exchange, exchange_type, routing_key } => {
            let how = exchange.iter().fold(Consume::new(), |how, name| how.exchange(name, exchange_type));
            let how = routing_key.iter().fold(how, Consume::routing_key);
            ask(to, control.add_consumer(queue, &how)).await
        }
        Command::CancelConsumer { queue } => ask(to, control.cancel_consumer(queue)).await,
        Command::PoolGrow { n } => ask(to, control.pool_grow(*n)).await,
        Command::PoolShrink { n } => ask(to, control.pool_shrink(*n)).await,
        Command::Autoscale { max, min } => ask(to, control.autoscale(*max, *min)).await,
        Command::PoolRestart => ask(to, control.pool_restart(None, false)).await,
        Command::Shutdown => {
            addressed(to, control.shutdown())?.cast().await?;
            Ok(true)
        }
        Command::Events { routing_key } => events(control, routing_key).await,
    }
}

/// Sends a command, and prints the answers.
async fn ask<T>(to: &Arguments, command: CeleryCommand<T>) -> Result<bool, Box<dyn Error>> {
    let mut replies = addressed(to, command)?.replies().await?;
    let mut has_answered = false;
    while let Some(reply) = replies.recv().await {
        match reply {
            Ok(reply) => {
                let (node, answer) = reply.into_parts();
                print(&Value::Object(Map::from_iter([(node, answer)])))?;
                has_answered = true;
            }
            Err(error) => {
                terminal::failed(NAME, &terminal::chain(&error));
            }
        }
    }
    Ok(has_answered)
}

fn addressed<T>(to: &Arguments, command: CeleryCommand<T>) -> Result<CeleryCommand<T>, Box<dyn Error>> {
    let command = to.destination.iter().fold(command, CeleryCommand::to).timeout(to.timeout);
    match &to.pattern {
        Some(pattern) => Ok(command.matching(Matcher::Glob, pattern)?),
        None => Ok(command),
    }
}

async fn events(control: &Control, routing_key: &str) -> Result<bool, Box<dyn Error>> {
    let mut events = control.events().routing_key(routing_key).start().await?;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => print(&Value::Object(event.fields))?,
                None => return Ok(true),
            },
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                return Ok(true);
            }
        }
    }
}

fn print(line: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
