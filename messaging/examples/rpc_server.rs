//! Serves remote calls, from clients of Python's oslo.messaging and of this library alike.
//!
//! It serves `TOPIC` as `SERVER` until SIGTERM or SIGINT, and then finishes running methods. It
//! prints `ready` on standard output when it can be called. Without a namespace, in version 1.5, it
//! has `echo(value)`, `add(a, b)`, `fail(message)` (a `ValueError`), `sleep(seconds)` and
//! `whoami()`. In namespace `ns`, in version 2.3, it has `echo(value)`, which answers `{"ns":
//! value}`.
//!
//! ```text
//! rpc_server rabbit://guest:guest@127.0.0.1:5672/ math host-1
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
    Target, TransportOptions,
    rpc::{Acknowledge, Endpoint, Failure},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

mod terminal;

/// Serves remote calls until it is told to end.
#[derive(Parser)]
struct Arguments {
    /// The broker: rabbit://, amqp://, amqps:// or memory://.
    url: String,
    /// The topic to serve.
    topic: String,
    /// The server's own name, by which it can be called directly.
    server: String,
    /// How many methods run at once.
    #[arg(long, default_value_t = 64)]
    concurrency: u16,
    /// Acknowledges requests after their method has run: requests in progress are run again after a
    /// crash.
    #[arg(long)]
    acknowledge_after: bool,
}

/// JSON as it was received: numbers of any size, keys in their order.
#[derive(Deserialize)]
struct Echo {
    value: Box<RawValue>,
}

#[derive(Deserialize)]
struct Add {
    a: Number,
    b: Number,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(untagged)]
enum Number {
    Integer(i64),
    Float(f64),
}

#[derive(Deserialize)]
struct Fail {
    message: String,
}

#[derive(Deserialize)]
struct Sleep {
    seconds: f64,
}

#[derive(Serialize)]
struct Namespaced {
    ns: Box<RawValue>,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("rpc_server", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut signals = terminal::Signals::catch()?;
    let transport = TransportOptions::new().name("rpc_server").connect(&arguments.url).await?;
    let target = Target::topic(arguments.topic).server(&arguments.server);
    let acknowledge = if arguments.acknowledge_after { Acknowledge::After } else { Acknowledge::Before };
    let server = transport
        .rpc_server(target)
        .concurrency(arguments.concurrency)
        .acknowledge(acknowledge)
        .endpoint(plain(arguments.server))
        .endpoint(namespaced())
        .start()
        .await?;
    writeln!(io::stdout(), "ready")?;
    io::stdout().flush()?;
    signals.recv().await;
    let stopped = server.stop().await;
    transport.close().await?;
    Ok(stopped?)
}

fn plain(server: String) -> Endpoint {
    Endpoint::new()
        .version(1, 5)
        .method("echo", |_, args: Echo| async move { Ok(args.value) })
        .method("add", |_, args: Add| async move { add(&args) })
        .method("fail", |_, args: Fail| async move { Err::<(), _>(Failure::new("ValueError", args.message)) })
        .method("sleep", |_, args: Sleep| async move {
            tokio::time::sleep(Duration::try_from_secs_f64(args.seconds)?).await;
            Ok(())
        })
        .method("whoami", move |_, _: IgnoredAny| {
            let server = server.clone();
            async move { Ok(server) }
        })
}

fn namespaced() -> Endpoint {
    let echo = |_, args: Echo| async move { Ok(Namespaced { ns: args.value }) };
    Endpoint::new().namespace("ns").version(2, 3).method("echo", echo)
}

fn add(args: &Add) -> Result<Number, Failure> {
    Ok(match (args.a, args.b) {
        (Number::Integer(a), Number::Integer(b)) => {
            let sum = a.checked_add(b).ok_or_else(|| Failure::new("OverflowError", "over 64 bits"))?;
            Number::Integer(sum)
        }
        (a, b) => Number::Float(a.float() + b.float()),
    })
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Number::Integer(integer) => integer as f64,
            Number::Float(float) => float,
        }
    }
}
