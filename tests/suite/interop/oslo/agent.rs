//! A Python process that executes commands with oslo.messaging.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tests::Python;
use tokio::{sync::oneshot, time::timeout};

const RPC: &str = include_str!("agent.py");
const NOTIFICATIONS: &str = include_str!("notify.py");
/// The longest that a command may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The process. It ends with its standard input, and so with this process.
pub(super) struct Agent {
    child: Mutex<Child>,
    commands: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>,
    next: AtomicU64,
}

/// What Python raised.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) class: String,
    pub(super) text: String,
    /// For a `RemoteError`, the class of the server's exception.
    pub(super) remote: Option<String>,
}

impl Agent {
    /// The process that most tests share, because starting Python takes longer than a test.
    pub(super) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Agent> = OnceLock::new();
        let python = Python::require(test)?;
        Some(SHARED.get_or_init(|| Self::start(&python, RPC)))
    }

    /// The process that all tests of notifications share.
    pub(super) fn of_notifications(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Agent> = OnceLock::new();
        let python = Python::require(test)?;
        Some(SHARED.get_or_init(|| Self::start(&python, NOTIFICATIONS)))
    }

    /// A process that the test may kill.
    pub(super) fn own(test: &str) -> Option<Self> {
        Some(Self::start(&Python::require(test)?, RPC))
    }

    fn start(python: &Python, script: &str) -> Self {
        let mut command = python.command(script, &[]);
        // Python keeps the lock of its queue names there, which the processes of a host share.
        command.env("OSLO_LOCK_PATH", std::env::temp_dir());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = Mutex::new(child.stdin.take().unwrap());
        let answers = BufReader::new(child.stdout.take().unwrap());
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>> = Arc::default();
        let told = waiting.clone();
        std::thread::spawn(move || {
            for line in answers.lines().map_while(Result::ok) {
                let answer: Value = serde_json::from_str(&line).unwrap();
                let waiter = told.lock().unwrap().remove(&answer["id"].as_u64().unwrap());
                let _ = waiter.unwrap().send(answer);
            }
            // This tells all waiting callers that it has ended.
            told.lock().unwrap().clear();
        });
        Agent { child: Mutex::new(child), commands, waiting, next: AtomicU64::new(0) }
    }

    /// Executes a command; returns its result, or the exception.
    pub(super) async fn ask(&self, mut command: Value) -> Result<Value, Raised> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        command["id"] = json!(id);
        writeln!(self.commands.lock().unwrap(), "{command}").unwrap();
        let mut answer =
            timeout(DEADLINE, answer).await.expect("Python does not answer").expect("Python ended");
        let error = answer["error"].take();
        if error.is_null() {
            return Ok(answer["result"].take());
        }
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        Err(Raised { class: text("class").unwrap(), text: text("text").unwrap(), remote: text("remote") })
    }

    /// Serves a topic.
    pub(super) async fn serve(&self, url: &str, topic: &str, server: &str) -> Result<Value, Raised> {
        self.ask(json!({"do": "serve", "url": url, "topic": topic, "server": server})).await
    }

    /// Stops a server.
    pub(super) async fn stop(&self, topic: &str, server: &str) {
        self.ask(json!({"do": "stop", "topic": topic, "server": server})).await.unwrap();
    }

    /// Calls a method; `more` may have `version`, `namespace`, `server`, `timeout`, `monitor` and
    /// `context`.
    pub(super) async fn call(
        &self,
        url: &str,
        topic: &str,
        method: &str,
        args: Value,
        more: Value,
    ) -> Result<Value, Raised> {
        self.send("call", url, topic, method, args, more).await
    }

    /// As [`call`](Self::call), for a `call`, `cast` or `fanout`.
    pub(super) async fn send(
        &self,
        kind: &str,
        url: &str,
        topic: &str,
        method: &str,
        args: Value,
        more: Value,
    ) -> Result<Value, Raised> {
        let mut command =
            json!({"do": "send", "url": url, "kind": kind, "topic": topic, "method": method, "args": args});
        if let (Some(command), Value::Object(more)) = (command.as_object_mut(), more) {
            command.extend(more);
        }
        self.ask(command).await
    }

    /// Kills the process (SIGKILL).
    pub(super) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
