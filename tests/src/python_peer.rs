//! A Python process that does what it is told: a line of JSON each way for each command.

use std::{io, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::python::Python;

/// A Python process that reads commands, `{"do": …}`, and answers each with `{"result": …}` or
/// `{"error": {"class": …, "text": …}}`.
///
/// # On drop
/// It is killed.
#[derive(Debug)]
pub struct PythonPeer {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl PythonPeer {
    /// Starts `script` with these arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(python: &Python, script: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::from(python.command(script, arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(PythonPeer { commands, answers: BufReader::new(answers).lines(), child })
    }

    /// Gives a command, and returns its result; the inner error is what Python raised.
    ///
    /// # Errors
    /// When the process has ended, or answers with something else.
    pub async fn ask(&mut self, what: &str, mut command: Value) -> io::Result<Result<Value, String>> {
        command["do"] = json!(what);
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        let line = self.answers.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut answer: Value = serde_json::from_str(&line)?;
        Ok(match answer["error"]["class"].as_str() {
            None => Ok(answer["result"].take()),
            Some(class) => Err(format!("{class}: {}", answer["error"]["text"])),
        })
    }

    /// Kills it (SIGKILL), and reaps it.
    ///
    /// # Errors
    /// When that fails.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}
