//! A Python process with nodes and callers of kombu.

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
    /// The fields that commands have in common.
    common: Value,
    _child: Child,
}

impl Kombu {
    /// Starts it for a mailbox.
    pub(super) fn start(python: &Python, url: &str, namespace: &str, kind: &str) -> Self {
        let mut command = Command::from(python.command(SCRIPT, &[url]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        Kombu {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            common: json!({"namespace": namespace, "type": kind}),
            _child: child,
        }
    }

    /// Starts a node; an error is the class of what Python raised.
    pub(super) async fn node(&mut self, name: &str) -> Result<(), String> {
        self.ask("node", json!({"name": name})).await.map(drop)
    }

    /// Starts a node whose replies lack something.
    pub(super) async fn odd_node(&mut self, name: &str, lacks: &str) {
        self.ask("node", json!({"name": name, "lacks": lacks})).await.unwrap();
    }

    pub(super) async fn stop(&mut self, name: &str) {
        self.ask("stop", json!({"name": name})).await.unwrap();
    }

    /// Calls or casts a command.
    pub(super) async fn call(&mut self, command: Value) -> Value {
        self.ask("call", command).await.unwrap()
    }

    async fn ask(&mut self, what: &str, mut command: Value) -> Result<Value, String> {
        command["do"] = json!(what);
        let fields = command.as_object_mut().unwrap();
        fields.extend(self.common.as_object().unwrap().clone());
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let line = within(self.answers.next_line()).await.unwrap().expect("Python has ended");
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        match answer["error"]["class"].as_str() {
            None => Ok(answer["result"].take()),
            Some(class) => Err(format!("{class}: {}", answer["error"]["text"])),
        }
    }
}
