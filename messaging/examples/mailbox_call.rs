//! Sends a command to the nodes of a mailbox, to nodes of Python's kombu and Celery and of this
//! library alike, and prints their replies.
//!
//! Each reply is a line of JSON, `{"node": answer}`, as soon as it is there. If there is none the
//! exit code is 69, as that of `celery inspect`; after a reply that cannot be read, and after any
//! other error, it is 1. Either is one line on standard error.
//!
//! ```text
//! mailbox_call amqp://guest:guest@127.0.0.1:5672/ workers echo '{"value": 1}' --limit 3
//! mailbox_call amqp://guest:guest@127.0.0.1:5672/ celery ping --fanout --destination celery@host-1
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
use messaging::{
    Transport, TransportOptions,
    mailbox::{Command, Kind, Matcher, Reply},
};
use serde_json::{Map, Value, json};

mod terminal;

const NAME: &str = "mailbox_call";

/// The exit code when no node has answered, EX_UNAVAILABLE of sysexits.h.
const NO_REPLY: u8 = 69;

/// Calls a method of nodes.
#[derive(Parser)]
struct Arguments {
    /// The broker: amqp://, amqps:// or memory://.
    url: String,
    /// The namespace of the mailbox.
    namespace: String,
    /// The method.
    method: String,
    /// The arguments by their names; `-` reads them from standard input.
    #[arg(default_value = "{}", value_parser = object)]
    arguments: Map<String, Value>,
    /// The names of nodes, separated by commas. It ends when all of them have answered.
    #[arg(long, value_delimiter = ',')]
    destination: Option<Vec<String>>,
    /// A pattern that the names of nodes fit.
    #[arg(long)]
    pattern: Option<String>,
    /// How the pattern is matched: glob or pcre.
    #[arg(long, default_value = "glob", value_parser = matcher, requires = "pattern")]
    matcher: Matcher,
    /// The time for the whole call, in seconds.
    #[arg(long, default_value = "1", value_parser = terminal::seconds)]
    timeout: Duration,
    /// Ends after so many replies.
    #[arg(long)]
    limit: Option<usize>,
    /// Wants no replies.
    #[arg(long)]
    cast: bool,
    /// Uses a fanout exchange, as Celery does, instead of kombu's default.
    #[arg(long)]
    fanout: bool,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    let text = terminal::text(text).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("not a JSON object: {error}"))
}

fn matcher(name: &str) -> Result<Matcher, String> {
    let known = [Matcher::Glob, Matcher::Pcre].into_iter().find(|matcher| matcher.name() == name);
    known.ok_or_else(|| "neither glob nor pcre".to_owned())
}

/// What became of a command.
struct Outcome {
    replies: usize,
    unreadable: usize,
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
    let is_cast = arguments.cast;
    match run(arguments).await {
        Ok(Outcome { unreadable: 0, replies }) if replies > 0 || is_cast => ExitCode::SUCCESS,
        Ok(Outcome { unreadable: 0, .. }) => {
            terminal::failed(NAME, "no node replied in time");
            NO_REPLY.into()
        }
        Ok(Outcome { .. }) => ExitCode::FAILURE,
        Err(error) => terminal::end(NAME, Err(error)),
    }
}

async fn run(arguments: Arguments) -> Result<Outcome, Box<dyn Error>> {
    let options = TransportOptions::new().name(NAME).connect_timeout(arguments.timeout);
    let transport = options.lazy(&arguments.url)?;
    let outcome = send(&transport, arguments).await;
    let closed = transport.close().await;
    let outcome = outcome?;
    closed?;
    Ok(outcome)
}

async fn send(transport: &Transport, arguments: Arguments) -> Result<Outcome, Box<dyn Error>> {
    let is_cast = arguments.cast;
    let command = command(transport, arguments)?;
    let mut outcome = Outcome { replies: 0, unreadable: 0 };
    if is_cast {
        command.cast().await?;
        return Ok(outcome);
    }
    let mut replies = command.call().await?;
    while let Some(reply) = replies.recv().await {
        match reply {
            Ok(reply) => {
                outcome.replies += 1;
                print(reply)?;
            }
            Err(error) => {
                outcome.unreadable += 1;
                terminal::failed(NAME, &terminal::chain(&error));
            }
        }
    }
    Ok(outcome)
}

fn command(transport: &Transport, arguments: Arguments) -> Result<Command, messaging::Error> {
    let kind = if arguments.fanout { Kind::Fanout } else { Kind::Direct };
    let mailbox = transport.mailbox(&arguments.namespace).kind(kind).open();
    let mut command = mailbox.command(arguments.method).arguments(&arguments.arguments)?;
    command = command.timeout(arguments.timeout);
    if let Some(destination) = arguments.destination {
        command = command.to(destination);
    }
    if let Some(pattern) = arguments.pattern {
        command = command.matching(arguments.matcher, pattern)?;
    }
    if let Some(limit) = arguments.limit {
        command = command.limit(limit);
    }
    Ok(command)
}

fn print(reply: Reply) -> io::Result<()> {
    let (node, answer) = reply.into_parts();
    writeln!(io::stdout(), "{}", json!({node: answer}))?;
    io::stdout().flush()
}
