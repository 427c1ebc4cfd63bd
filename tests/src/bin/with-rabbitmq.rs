//! Runs a command while a private RabbitMQ runs, which the command's tests find as
//! `tests::Node::shared()`, with RabbitMQ's management and metrics. It is that of the folder
//! `AMQP_TEST_RABBITMQ_ROOT`, if that is set.
//!
//! `with-rabbitmq COMMAND [ARGUMENT...]` ends with the command's exit code, or with 125 when
//! RabbitMQ or the command could not be started. SIGINT or SIGTERM ends first the command, then
//! RabbitMQ.

use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tests::RabbitMq;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::timeout;

/// The exit code with which env, timeout and similar programs report failures of their own.
const OWN_FAILURE: u8 = 125;
/// How long the command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// RabbitMQ 3.10's own limit. That of 4.0 is 16 MiB, less than what messaging accepts by default.
const CONFIGURATION: &str = "max_message_size = 134217728\n";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let Some((program, arguments)) = arguments.split_first() else {
        eprintln!("usage: with-rabbitmq COMMAND [ARGUMENT...]");
        return OWN_FAILURE.into();
    };
    let mut command = Command::new(program);
    command.args(arguments);
    run(command).await.map_or_else(
        |error| {
            eprintln!("with-rabbitmq: {error}");
            OWN_FAILURE.into()
        },
        ExitCode::from,
    )
}

/// Returns the exit code. RabbitMQ is gone when this returns, whatever it returns.
async fn run(command: Command) -> io::Result<u8> {
    let mut signals = Signals::new()?;
    let rabbitmq = tokio::select! {
        started = RabbitMq::start_managed(CONFIGURATION) => started?,
        kind = signals.recv() => return Ok(ended_by(kind.as_raw_value())),
    };
    let mut child = spawn(command, &rabbitmq)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let code = tokio::select! {
        status = child.wait() => code(status?),
        kind = signals.recv() => {
            end(group, Signal::TERM);
            // If it does not end, it is killed below.
            let _ = timeout(GRACE, child.wait()).await;
            ended_by(kind.as_raw_value())
        }
    };
    // A test that was killed may have left brokers behind.
    end(group, Signal::KILL);
    child.wait().await?;
    Ok(code)
}

fn spawn(mut command: Command, rabbitmq: &RabbitMq) -> io::Result<Child> {
    // The command gets its own process group, so that its children can be ended with it.
    command.envs(rabbitmq.environment()).process_group(0).spawn().map_err(|error| {
        let program = command.as_std().get_program().to_string_lossy();
        io::Error::new(error.kind(), format!("{program}: {error}"))
    })
}

fn end(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It fails only when nothing of the group is left.
        let _ = kill_process_group(group, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or_else(|| ended_by(status.signal().unwrap_or_default()))
}

/// The exit code that shells use for a signal.
fn ended_by(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
}

struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal that asks this program to end.
    async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
