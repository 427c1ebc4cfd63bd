//! An AMQP 0-9-1 broker that keeps everything in memory.

use std::{error::Error, io::Write, process::ExitCode};

use amqp_broker::Broker;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An AMQP 0-9-1 broker that keeps everything in memory.
///
/// Prints one line, `listening on ADDR`, once it accepts connections. SIGINT and SIGTERM end it: every connection is
/// closed with 320 CONNECTION_FORCED. Logs go to standard error; RUST_LOG says how much, as in RUST_LOG=debug.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to accept connections; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5672")]
    listen: String,

    /// A user who may log in; may be given several times [default: guest:guest]
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = parse_user)]
    users: Vec<User>,

    /// A virtual host; may be given several times [default: /]
    #[arg(long = "vhost", value_name = "NAME")]
    vhosts: Vec<String>,
}

#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

fn parse_user(text: &str) -> Result<User, String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() => {
            Ok(User { name: name.to_owned(), password: password.to_owned() })
        }
        // Not repeated: it may be a password.
        _ => Err("a user is NAME:PASSWORD".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // Before anybody is told that we run: a signal from now on ends us cleanly.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut builder = Broker::builder();
    for User { name, password } in arguments.users {
        builder = builder.user(name, password);
    }
    for name in arguments.vhosts {
        builder = builder.vhost(name);
    }
    let broker = builder.build();
    let listener = broker
        .listen(&arguments.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr())?;
    stdout.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("ending");
    broker.shutdown().await;
    Ok(())
}
