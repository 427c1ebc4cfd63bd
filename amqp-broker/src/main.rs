//! An AMQP 0-9-1 broker as a program.

mod log;
mod program;
mod settings;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use amqp_broker::Report;
use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use mimalloc::MiMalloc;
use program::{
    configuration::{Reloaded, Sources},
    http_listeners::HttpListeners,
    listeners::{self, Listeners, addresses},
    service_state,
    signals::Signals,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use settings::Settings;

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
/// signal does nothing more. At SIGHUP it reads its settings again: users, permissions, tags and
/// certificates become as they say now; if they are wrong, nothing changes, and the log says why. A
/// service manager that asks for it (systemd's Type=notify) is told when the broker is ready.
///
/// Each connection needs an open file. The broker may open as many as the system's hard limit
/// (ulimit -Hn) allows, less those reserved for the disk and for accepting; when none is left, new
/// connections wait until others end.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    sources: Sources,
}

/// The commands of the program besides serving.
#[derive(Subcommand)]
enum Command {
    /// Checks the settings, the files that they name and the addresses to listen at, and ends: with
    /// 0 when the broker could start with them. It neither listens nor opens the folder of --data
    CheckConfig(Box<Sources>),
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
    let (sources, checks) = match arguments.command {
        Some(Command::CheckConfig(sources)) => (*sources, true),
        None => (arguments.sources, false),
    };
    let settings = match sources.read() {
        Ok(settings) => settings,
        Err(error) => return failed(&*error),
    };
    if let Err(error) = log::begin(settings.log.as_deref(), settings.log_format.unwrap_or_default()) {
        return failed(&error);
    }
    if checks {
        return check(&settings).await.unwrap_or_else(|error| failed(&*error));
    }
    if let Err(error) = raise_file_limit() {
        tracing::warn!(%error, "no more open files than the soft limit allows");
    }
    match run(&settings, &sources).await {
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
        ErrorKind::UnknownArgument if !is_flag(&error) => stray(),
        // Either shows a word that stands where a subcommand may.
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => stray(),
        ErrorKind::TooManyValues => {
            Arguments::command().error(ErrorKind::TooManyValues, "a flag that takes no value has got one")
        }
        _ => error,
    }
}

fn stray() -> clap::Error {
    Arguments::command().error(
        ErrorKind::UnknownArgument,
        "a word belongs to no flag; it is not shown, as it may be a part of a password: where there is a space in \
         one, quote it. check-config comes before all flags",
    )
}

/// Prints an error before there is a log.
fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    // If standard error is closed, nobody can be told.
    let _ = writeln!(io::stderr(), "amqp-broker: {}", Report(error));
    ExitCode::FAILURE
}

/// Checks the settings, and says so.
async fn check(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    settings.check()?;
    for address in settings.addresses() {
        addresses(address).await.map_err(|error| listeners::refused(address, &error))?;
    }
    writeln!(io::stdout(), "the settings are valid")?;
    Ok(ExitCode::SUCCESS)
}

/// Raises the limit of open files, and so of connections, to the hard limit. The soft limit is
/// often 1024, for programs that use select(2).
fn raise_file_limit() -> Result<(), rustix::io::Errno> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
}

async fn run(settings: &Settings, sources: &Sources) -> Result<(), Box<dyn Error>> {
    // The handlers are installed before the addresses are announced, so that a signal after that
    // ends the program in an orderly way.
    let mut signals = Signals::new().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let tls = settings.tls()?;
    let broker = settings.broker()?;
    let reloaded = Reloaded { broker: &broker, tls: tls.as_ref() };
    let end = serve(reloaded, settings, sources, &mut signals).await;
    service_state::stopping();
    // However it ends, waiting clients are answered and the store is closed.
    tokio::select! {
        () = broker.shutdown() => {}
        () = signals.disregard() => {}
    }
    end
}

/// Serves clients until a signal or a failure ends the program.
async fn serve(
    reloaded: Reloaded<'_>,
    settings: &Settings,
    sources: &Sources,
    signals: &mut Signals,
) -> Result<(), Box<dyn Error>> {
    let Reloaded { broker, tls } = reloaded;
    settings.load_definitions(broker).await?;
    // The listeners are open until they are dropped.
    let listeners = Listeners::open(broker, &settings.listen, &settings.listen_tls, tls).await?;
    let http = HttpListeners::open(broker, settings, tls).await?;
    listeners.announce()?;
    http.announce()?;
    service_state::ready();
    let reload = || {
        service_state::reloading();
        reloaded.reload(sources);
        service_state::ready();
    };
    tokio::select! {
        failure = broker.failed() => return Err(failure.into()),
        signal = signals.end(reload) => tracing::info!("ending because of {signal}"),
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
        drop(settings.builder().unwrap());
    }
}
