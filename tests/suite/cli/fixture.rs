//! A broker, and the program `amqp` on it.

use std::{
    ffi::OsStr,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use amqp_broker::Listener;
use amqp_client::{Channel, ConnectOptions, Connection, Message, Queue};
use tempfile::TempDir;
use tests::Node;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::timeout,
};

/// The longest that any test waits for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// The program, built with the suite.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_cli");

pub(super) struct Broker {
    url: String,
    prefix: String,
    /// The home of the program's user, in which nothing is.
    home: TempDir,
    _listener: Option<Listener>,
}

impl Broker {
    /// The embedded broker on a free port.
    pub(super) async fn embedded() -> Self {
        Self::on(amqp_broker::Broker::builder().build().listen("127.0.0.1:0").await.unwrap())
    }

    /// The embedded broker that listens here.
    pub(super) fn on(listener: Listener) -> Self {
        Self::new(format!("amqp://guest:guest@{}", listener.local_addr()), Some(listener))
    }

    /// RabbitMQ, if `tests/run` started one.
    pub(super) fn rabbitmq(test: &str) -> Option<Self> {
        Some(Self::new(Node::require(test)?.uri().to_owned(), None))
    }

    /// The broker at a URL.
    pub(super) fn at(url: String) -> Self {
        Self::new(url, None)
    }

    fn new(url: String, listener: Option<Listener>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("cli-{}-{number}", std::process::id());
        Broker { url, prefix, home: tempfile::tempdir().unwrap(), _listener: listener }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// A name that no other test uses.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub(super) async fn connect(&self) -> Connection {
        ConnectOptions::new().connect(&self.url).await.unwrap()
    }

    pub(super) async fn channel(&self) -> Channel {
        self.connect().await.open_channel().await.unwrap()
    }

    /// Declares a queue of the test with these messages in it, and returns its name.
    pub(super) async fn queue_with(&self, name: &str, bodies: &[&str]) -> String {
        let name = self.name(name);
        let channel = self.channel().await;
        channel.declare(Queue::durable(&name)).await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        for body in bodies {
            let message = Message::new((*body).to_owned());
            publisher.publish(("", name.as_str()), &message).await.unwrap().await.unwrap();
        }
        name
    }

    /// Returns the bodies that are in a queue, and leaves it empty.
    pub(super) async fn bodies_of(&self, queue: &str) -> Vec<String> {
        let channel = self.channel().await;
        let mut bodies = Vec::new();
        while let Some(delivery) = channel.get(queue, amqp_client::GetOptions::new()).await.unwrap() {
            bodies.push(String::from_utf8_lossy(delivery.body()).into_owned());
            delivery.ack().await.unwrap();
        }
        bodies
    }

    /// The program with the broker in AMQP_URL.
    pub(super) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("AMQP_URL", &self.url);
        self.isolate(&mut command);
        command
    }

    /// Takes what may be in the environment of whoever runs the tests away from the program.
    pub(super) fn isolate(&self, command: &mut Command) {
        command
            .env("HOME", self.home())
            .env("TERM", "xterm")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("AMQP_CONTEXT")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
    }

    /// Runs the program to its end.
    pub(super) async fn run(&self, line: &[&str]) -> Ended {
        ended(self.command(line).spawn().unwrap()).await
    }

    /// As [`run`](Self::run), with something on its standard input.
    pub(super) async fn run_with_input(&self, line: &[&str], input: &[u8]) -> Ended {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).await.unwrap();
        ended(child).await
    }
}

/// The end of the program, and its output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    /// Returns standard output if the program ended with 0.
    #[track_caller]
    pub(super) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }
}

/// Waits until a program has ended.
pub(super) async fn ended(child: Child) -> Ended {
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("it does not end").unwrap();
    Ended {
        // A signal has no code.
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
