//! The embedded broker as a program that can be killed and restarted with its data.

use std::{
    env,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{left_out::leave_out, process::Process, rabbitmq::RabbitMq};

const START_DEADLINE: Duration = Duration::from_secs(120);
const STOP_DEADLINE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The program `amqp-broker` on its own port. Its data, if it keeps any, are in its own folder.
///
/// # On drop
/// It is killed, and its data are deleted.
#[derive(Debug)]
pub struct EmbeddedBroker {
    process: Process,
    program: PathBuf,
    port: u16,
    /// The arguments after those for the address and the log level.
    arguments: Vec<OsString>,
    _folder: Option<TempDir>,
}

impl EmbeddedBroker {
    /// The path of the program, which `cargo test --workspace` builds. If it is not there, `test`
    /// is left out.
    #[must_use]
    pub fn require(test: &str) -> Option<PathBuf> {
        let this = env::current_exe().ok();
        let folder = this.as_deref().and_then(|this| this.parent()?.parent());
        let program = folder.map(|folder| folder.join(format!("amqp-broker{}", env::consts::EXE_SUFFIX)));
        let program = program.filter(|program| program.exists());
        if program.is_none() {
            leave_out(test, "the program amqp-broker is not built (cargo build -p amqp-broker)");
        }
        program
    }

    /// Starts the program with a folder for its data. It accepts connections when this returns.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer within 120 s.
    pub async fn start(program: PathBuf) -> io::Result<Self> {
        Self::start_with(program, &[]).await
    }

    /// As [`start`](Self::start), with more arguments.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_with(program: PathBuf, arguments: &[&str]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("amqp-broker-").tempdir()?;
        let data = ["--data".into(), folder.path().into()];
        let arguments = data.into_iter().chain(arguments.iter().map(OsString::from)).collect();
        Self::start_in(program, arguments, Some(folder)).await
    }

    /// As [`start_with`](Self::start_with), without a folder.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_in_memory(program: PathBuf, arguments: &[&str]) -> io::Result<Self> {
        Self::start_in(program, arguments.iter().map(OsString::from).collect(), None).await
    }

    async fn start_in(
        program: PathBuf,
        arguments: Vec<OsString>,
        folder: Option<TempDir>,
    ) -> io::Result<Self> {
        let port = RabbitMq::free_port()?;
        let process = run(&program, port, &arguments)?;
        let mut broker = EmbeddedBroker { process, program, port, arguments, _folder: folder };
        broker.wait_until_it_answers().await?;
        Ok(broker)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns its status if it has ended by itself.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Kills it as a crash would (SIGKILL): its clients get no close. It is gone when this returns.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Ends it in an orderly way.
    ///
    /// # Errors
    /// When it has not ended within 120 s.
    pub async fn shut_down(&mut self) -> io::Result<()> {
        self.process.terminate(STOP_DEADLINE).await
    }

    /// Starts it again after [`kill`](Self::kill) or [`shut_down`](Self::shut_down), with the same
    /// data and port. It accepts connections when this returns.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) -> io::Result<()> {
        self.process = run(&self.program, self.port, &self.arguments)?;
        self.wait_until_it_answers().await
    }

    async fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let answers = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                if let Some(status) = self.process.ended()? {
                    return Err(io::Error::other(format!("amqp-broker ended ({status}) before it answered")));
                }
                sleep(POLL_INTERVAL).await;
            }
            Ok(())
        };
        timeout(START_DEADLINE, answers).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn run(program: &PathBuf, port: u16, arguments: &[OsString]) -> io::Result<Process> {
    let mut command = Command::new(program);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--log", "error"]).args(arguments);
    Process::start(command.stdout(Stdio::null()))
}
