//! Running the broker, from its arguments to its exit code.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use amqp_codec::Report;
use clap::{CommandFactory, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use super::{
    arguments::{Arguments, Command, without_strays},
    configuration::{Reloaded, Sources},
    http_listeners::HttpListeners,
    listeners::{self, Listeners, addresses},
    service_state,
    signals::Signals,
};
use crate::{log, settings::Settings};

/// The name of the program where it stands alone.
const NAME: &str = "amqp-broker";

/// Runs the program with the arguments of the process, and returns how it ended.
pub fn main() -> ExitCode {
    let arguments = Arguments::try_parse();
    let arguments = arguments.unwrap_or_else(|error| without_strays(error, &mut Arguments::command()).exit());
    run(NAME, arguments)
}

/// Runs the broker until it ends, or checks its settings, on a runtime of its own. It begins to log
/// for the whole process, and so it runs once. `name` is that of the program in what it says on
/// standard error.
///
/// # Panics
/// Panics on a thread of another runtime of tokio.
pub fn run(name: &str, arguments: Arguments) -> ExitCode {
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(serve_or_check(name, arguments)),
        Err(error) => failed(name, &error),
    }
}

async fn serve_or_check(name: &str, arguments: Arguments) -> ExitCode {
    let (sources, checks) = match arguments.command {
        Some(Command::CheckConfig(sources)) => (*sources, true),
        None => (arguments.sources, false),
    };
    let settings = match sources.read() {
        Ok(settings) => settings,
        Err(error) => return failed(name, &*error),
    };
    if let Err(error) = log::begin(settings.log.as_deref(), settings.log_format.unwrap_or_default()) {
        return failed(name, &error);
    }
    if checks {
        return check(&settings).await.unwrap_or_else(|error| failed(name, &*error));
    }
    if let Err(error) = raise_file_limit() {
        tracing::warn!(%error, "no more open files than the soft limit allows");
    }
    match until_the_end(&settings, &sources).await {
        Ok(()) => ExitCode::SUCCESS,
        // The reason is printed even if the log level would hide it.
        Err(error) if !tracing::enabled!(tracing::Level::ERROR) => failed(name, &*error),
        Err(error) => {
            tracing::error!("{}", Report(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Prints an error before there is a log.
fn failed(name: &str, error: &(dyn Error + 'static)) -> ExitCode {
    // If standard error is closed, nobody can be told.
    let _ = writeln!(io::stderr(), "{name}: {}", Report(error));
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

async fn until_the_end(settings: &Settings, sources: &Sources) -> Result<(), Box<dyn Error>> {
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
