//! A Python process with kombu on a virtual transport.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::Python;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::within;

const SCRIPT: &str = include_str!("kombu.py");

/// The process. It ends with its standard input.
pub(super) struct Kombu {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Kombu {
    pub(super) fn start(python: &Python, url: &str, transport_options: &Value) -> Self {
        let mut command = Command::from(python.command(SCRIPT, &[url, &transport_options.to_string()]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        Kombu {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// Declares a queue; see kombu.py for its form.
    pub(super) async fn declare(&mut self, queue: Value) {
        self.ask("declare", json!({"queue": queue})).await;
    }

    /// Publishes the bodies that the command names.
    pub(super) async fn publish(&mut self, command: Value) {
        self.ask("publish", command).await;
    }

    /// Consumes and acknowledges so many messages.
    pub(super) async fn consume(&mut self, queue: Value, count: usize) -> Vec<Value> {
        let got = self.ask("consume", json!({"queue": queue, "count": count})).await;
        got.as_array().unwrap().clone()
    }

    /// Takes so many messages and holds them.
    pub(super) async fn hold(&mut self, queue: &str, count: usize) -> Vec<Value> {
        let command = json!({"queue": queue, "count": count, "prefetch": count, "hold": true});
        self.ask("consume", command).await.as_array().unwrap().clone()
    }

    /// Lets it return what others hold for too long.
    pub(super) async fn restore(&mut self) {
        self.ask("restore", json!({})).await;
    }

    /// Lets it delete the bindings whose time is over.
    pub(super) async fn sweep(&mut self) {
        self.ask("sweep", json!({})).await;
    }

    /// Kills it (SIGKILL).
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// How many messages the queue holds.
    pub(super) async fn size(&mut self, queue: &str) -> u64 {
        self.ask("size", json!({"queue": queue})).await.as_u64().unwrap()
    }

    async fn ask(&mut self, what: &str, mut command: Value) -> Value {
        command["do"] = json!(what);
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let line = within(self.answers.next_line()).await.unwrap().expect("Python has ended");
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["error"].is_null(), "{what}: {}", answer["error"]);
        answer["result"].take()
    }
}
