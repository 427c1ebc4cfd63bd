//! Makes calls, casts and fanouts from the command line, to servers of Python's oslo.messaging and
//! of this library alike.
//!
//! The result of a call is printed as JSON. An error is one line on standard error, and the exit
//! code is 1 then. With `--repeat`, the rate and the duration of the calls are printed instead;
//! `--concurrency` of them run at a time.
//!
//! ```text
//! rpc_client rabbit://127.0.0.1/ call math add '{"a": 1, "b": 2}' --version 1.5
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use messaging::{Target, TransportOptions, Version, rpc::Client};
use serde_json::{Map, Value, value::RawValue};

mod terminal;

const NAME: &str = "rpc_client";

/// Calls a remote method.
#[derive(Parser)]
struct Arguments {
    /// The broker: rabbit://, amqp://, amqps:// or memory://.
    url: String,
    /// Whether to wait for a result, to ask one server, or to ask all of them.
    #[arg(value_enum)]
    kind: Kind,
    /// The topic of the servers.
    topic: String,
    /// The method.
    method: String,
    /// The arguments by their names; `-` reads them from standard input.
    #[arg(value_parser = object)]
    arguments: Box<RawValue>,
    /// One server of the topic.
    #[arg(long)]
    server: Option<String>,
    /// The namespace of the method.
    #[arg(long)]
    namespace: Option<String>,
    /// The version of the interface.
    #[arg(long)]
    version: Option<Version>,
    /// The time for the whole operation, in seconds.
    #[arg(long, default_value = "60", value_parser = terminal::seconds)]
    timeout: Duration,
    /// Makes a call fail when no heartbeat has come from its server for so many seconds.
    #[arg(long, value_parser = terminal::seconds)]
    monitor: Option<Duration>,
    /// Repeats it so many times, and prints how fast it was.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// With --repeat: how many run at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Call,
    Cast,
    Fanout,
}

/// Parses an object, and keeps it as it is written: numbers of any size, keys in their order.
fn object(text: &str) -> Result<Box<RawValue>, String> {
    let text = terminal::text(text).map_err(|error| error.to_string())?;
    let refused = |error| format!("not a JSON object: {error}");
    serde_json::from_str::<Map<String, Value>>(&text).map_err(refused)?;
    RawValue::from_string(text.trim().to_owned()).map_err(refused)
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Asking for help is no error.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return terminal::failed(NAME, &error.to_string()),
    };
    match run(&arguments).await {
        Ok(said) => {
            // An error means that standard output is closed, so nobody reads it.
            let _ = write!(io::stdout(), "{said}");
            ExitCode::SUCCESS
        }
        Err(error) => terminal::end(NAME, Err(error)),
    }
}

async fn run(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let options = TransportOptions::new().name("rpc_client").connect_timeout(arguments.timeout);
    let transport = options.lazy(&arguments.url)?;
    let mut client = transport.rpc_client(target(arguments)).timeout(arguments.timeout);
    if let Some(patience) = arguments.monitor {
        client = client.monitor(patience);
    }
    let said = match arguments.repeat {
        None => once(&client, arguments)
            .await
            .map(|result| result.map(|json| format!("{json}\n")).unwrap_or_default()),
        Some(times) => repeat(&client, arguments, times).await,
    };
    let closed = transport.close().await;
    let said = said?;
    closed?;
    Ok(said)
}

fn target(arguments: &Arguments) -> Target {
    let mut target = Target::topic(&arguments.topic);
    if let Some(server) = &arguments.server {
        target = target.server(server);
    }
    if let Some(namespace) = &arguments.namespace {
        target = target.namespace(namespace);
    }
    match arguments.version {
        Some(version) => target.exact_version(version),
        None => target,
    }
}

/// Does the operation once. Returns the result of a call; casts and fanouts have none.
async fn once(client: &Client, arguments: &Arguments) -> Result<Option<Box<RawValue>>, messaging::Error> {
    let Arguments { method, arguments: named, .. } = arguments;
    match arguments.kind {
        Kind::Call => client.call(method, named).await.map(Some),
        Kind::Cast => client.cast(method, named).await.map(|()| None),
        Kind::Fanout => client.fanout(method, named).await.map(|()| None),
    }
}

async fn repeat(client: &Client, arguments: &Arguments, times: u32) -> Result<String, messaging::Error> {
    // The first operation connects, and is not measured.
    once(client, arguments).await?;
    let started = Instant::now();
    let calls = stream::iter(0..times).map(|_| async {
        let begun = Instant::now();
        once(client, arguments).await.map(|_| begun.elapsed())
    });
    let mut took: Vec<Duration> =
        calls.buffer_unordered(arguments.concurrency as usize).try_collect().await?;
    let elapsed = started.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        took.get(place.min(took.len().saturating_sub(1))).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    let rate = f64::from(times) / elapsed;
    Ok(format!(
        "{rate:.0} calls/s ({times} in {elapsed:.3} s); latency in us: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}\n",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    ))
}
