//! An AMQP 0-9-1 broker as a program.

mod http_listeners;
mod listeners;
mod log;
mod settings;
mod signals;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use amqp_broker::{Broker, Report, Tls};
use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use http_listeners::HttpListeners;
use listeners::Listeners;
use mimalloc::MiMalloc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use settings::Settings;
use signals::Signals;

// Unlike glibc's allocator it returns the memory that a draining queue frees to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// An AMQP 0-9-1 broker that any client takes for RabbitMQ.
///
/// Without any flag it listens at 127.0.0.1:5672 and has the user guest with the password guest,
/// who may log in from this machine only and may do everything in the virtual host /. Everything it
/// holds is in memory and is lost at its end, unless --data names a folder.
///
/// For each address it prints one line, `listening on ADDR`, to standard output once it accepts
/// connections there; lines for TLS end in `with TLS`, those for HTTP begin with `serving HTTP on`
/// or `serving metrics on`. The log goes to standard error; texts of
/// clients in it are escaped, and cut if they are long. SIGINT and SIGTERM end the broker:
/// publishes are confirmed, and every connection is closed with 320 CONNECTION_FORCED; a second
/// signal does nothing more. SIGHUP only writes a line to the log.
///
/// Each connection needs an open file. The broker may open as many as the system's hard limit
/// (ulimit -Hn) allows, less those reserved for the disk and for accepting; when none is left, new
/// connections wait until others end.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// A TOML file with settings; its keys are the names of the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

const EXAMPLES: &str = r#"A file:
  listen = ["0.0.0.0:5672"]
  listen-tls = ["0.0.0.0:5671"]
  http = ["127.0.0.1:15672"]
  metrics = ["0.0.0.0:15692"]
  metrics-login = false
  tls-certificate = "/etc/broker/server.pem"
  tls-key = "/etc/broker/server.key"
  tls-client-authorities = "/etc/broker/clients.pem"
  user-without-password = ["sensor"]
  loopback-users = ["admin"]
  data = "/var/lib/broker"
  vhost = ["/", "orders"]
  max-connections = 1000
  consumer-timeout = 3600000
  memory-limit = "4G"
  log-format = "json"

  [[user]]
  name = "admin"
  password = "secret"

  [[user]]
  name = "reader"
  password = "secret"

  [[permissions]]
  user = "reader"
  vhost = "orders"
  configure = ""
  write = ""
  read = "^events"

  [[topic-permissions]]
  user = "reader"
  vhost = "orders"
  exchange = "events"
  write = ""
  read = "^{username}\\."

  [[user-tags]]
  user = "admin"
  tags = ["impersonator"]

  [[policy]]
  name = "short-lived"
  vhost = "orders"
  pattern = "^events"
  apply-to = "queues"
  definition = { message-ttl = 60000, dead-letter-exchange = "late" }

  [[policy]]
  name = "bounded"
  operator = true
  pattern = ""
  priority = 1
  definition = { max-length = 1000000 }
"#;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| without_strays(error).exit());
    let settings = match with_file(arguments) {
        Ok(settings) => settings,
        Err(error) => return failed(&*error),
    };
    if let Err(error) = log::begin(settings.log.as_deref(), settings.log_format.unwrap_or_default()) {
        return failed(&error);
    }
    if let Err(error) = raise_file_limit() {
        tracing::warn!(%error, "no more open files than the soft limit allows");
    }
    match run(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        // The reason is printed even if the log level would hide it.
        Err(error) if !tracing::enabled!(tracing::Level::ERROR) => failed(&*error),
        Err(error) => {
            tracing::error!("{}", Report(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The error of the arguments. It does not show a word that belongs to no flag, which may be part
/// of a password with a space in it.
fn without_strays(error: clap::Error) -> clap::Error {
    let is_flag = |error: &clap::Error| match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.starts_with('-'),
        _ => false,
    };
    match error.kind() {
        ErrorKind::UnknownArgument if !is_flag(&error) => Arguments::command().error(
            ErrorKind::UnknownArgument,
            "a word belongs to no flag; it is not shown, as it may be a part of a password: where there is a space in one, quote it",
        ),
        ErrorKind::TooManyValues => {
            Arguments::command().error(ErrorKind::TooManyValues, "a flag that takes no value has got one")
        }
        _ => error,
    }
}

/// Prints an error before there is a log.
fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    // If standard error is closed, nobody can be told.
    let _ = writeln!(io::stderr(), "amqp-broker: {}", Report(error));
    ExitCode::FAILURE
}

fn with_file(arguments: Arguments) -> Result<Settings, Box<dyn Error>> {
    let Some(file) = arguments.config else { return Ok(arguments.settings) };
    let about = |error: &dyn Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|error| about(&error))?;
    Ok(arguments.settings.or(Settings::parse(&text).map_err(|error| about(&error))?))
}

/// Raises the limit of open files, and so of connections, to the hard limit. The soft limit is
/// often 1024, for programs that use select(2).
fn raise_file_limit() -> Result<(), rustix::io::Errno> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
}

async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    // The handlers are installed before the addresses are announced, so that a signal after that
    // ends the program in an orderly way.
    let mut signals = Signals::new().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let tls = settings.tls()?;
    let broker = settings.broker()?;
    let end = serve(&broker, settings, tls.as_ref(), &mut signals).await;
    // However it ends, waiting clients are answered and the store is closed.
    tokio::select! {
        () = broker.shutdown() => {}
        () = signals.disregard() => {}
    }
    end
}

/// Serves clients until a signal or a failure ends the program.
async fn serve(
    broker: &Broker,
    settings: &Settings,
    tls: Option<&Tls>,
    signals: &mut Signals,
) -> Result<(), Box<dyn Error>> {
    // The listeners are open until they are dropped.
    let listeners = Listeners::open(broker, &settings.listen, &settings.listen_tls, tls).await?;
    let http = HttpListeners::open(broker, settings, tls).await?;
    listeners.announce()?;
    http.announce()?;
    tokio::select! {
        failure = broker.failed() => return Err(failure.into()),
        signal = signals.end() => tracing::info!("ending because of {signal}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_help_shows_can_be_read() {
        let (_, file) = EXAMPLES.split_once('\n').unwrap();
        let settings = Settings::parse(file).unwrap();
        settings.check().unwrap();
    }
}
