//! A node of a mailbox, for callers of Python's kombu and Celery and of this library alike.
//!
//! It takes the commands for `NAME` in `NAMESPACE` until the command `shutdown`, SIGTERM or SIGINT,
//! and then finishes those in progress. It prints `ready` on standard output when it can be called.
//! It has `ping()`, `echo(value)`, `time()` (in seconds since 1970), `clock()` (the logical time of
//! its mailbox), `fail(message)`, `sleep(seconds)` and `shutdown()`. With `--fanout` and the
//! namespace `celery`, `celery inspect ping` shows it.
//!
//! ```text
//! mailbox_node amqp://guest:guest@127.0.0.1:5672/ workers w1@host-1
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error; by default warnings.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Parser;
use messaging::{
    TransportOptions,
    mailbox::{Kind, Mailbox, NodeBuilder, Request},
};
use serde::Deserialize;
use serde_json::{Value, json};

mod terminal;

/// Takes the commands for a node until it is told to end.
#[derive(Parser)]
struct Arguments {
    /// The broker: amqp://, amqps:// or memory://.
    url: String,
    /// The namespace of the mailbox.
    namespace: String,
    /// The name of the node, by convention `name@host`.
    name: String,
    /// Uses a fanout exchange, as Celery does, instead of kombu's default.
    #[arg(long)]
    fanout: bool,
    /// Answers nothing to commands for methods that it does not have.
    #[arg(long)]
    silent: bool,
    /// How many commands it handles at once.
    #[arg(long, default_value_t = 16)]
    concurrency: u16,
}

#[derive(Deserialize)]
struct Echo {
    value: Value,
}

#[derive(Deserialize)]
struct Fail {
    message: String,
}

#[derive(Deserialize)]
struct Sleep {
    seconds: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("warn");
    terminal::end("mailbox_node", run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut signals = terminal::Signals::catch()?;
    let transport = TransportOptions::new().name("mailbox_node").connect(&arguments.url).await?;
    let kind = if arguments.fanout { Kind::Fanout } else { Kind::Direct };
    let mailbox = transport.mailbox(&arguments.namespace).kind(kind).open();
    let node = node(&mailbox, arguments.name).concurrency(arguments.concurrency);
    let mut node = node.silent_on_unknown(arguments.silent).start().await?;
    writeln!(io::stdout(), "ready")?;
    io::stdout().flush()?;
    let ended = tokio::select! {
        ended = node.wait() => ended,
        () = signals.recv() => Ok(()),
    };
    node.stop().await;
    transport.close().await?;
    Ok(ended?)
}

fn node(mailbox: &Mailbox, name: String) -> NodeBuilder {
    mailbox
        .node(name)
        .handler("ping", |_: Request, (): ()| async { ok("pong") })
        .handler("echo", |_: Request, Echo { value }| async move { ok(value) })
        .handler("time", |_: Request, (): ()| async {
            ok(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64())
        })
        .handler("clock", |request: Request, (): ()| async move {
            Ok::<_, String>(json!({"clock": request.clock()}))
        })
        .handler("fail", |_: Request, Fail { message }| async move { Err::<(), _>(message) })
        .handler("sleep", |_: Request, Sleep { seconds }| async move {
            tokio::time::sleep(Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?)
                .await;
            ok(seconds)
        })
        .handler("shutdown", |request: Request, (): ()| async move {
            request.stop_node();
            ok("shutting down")
        })
}

/// The form in which Celery's commands answer.
fn ok(value: impl Into<Value>) -> Result<Value, String> {
    Ok(json!({"ok": value.into()}))
}
