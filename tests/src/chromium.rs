//! A headless Chromium that shows a page, told what to do over its DevTools protocol.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::left_out::leave_out;

/// The deadline of an answer, and of the browser's end. Starting it takes 2 s on two free cores.
const DEADLINE: Duration = Duration::from_secs(120);

const OPTIONS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// A Chromium with one tab.
///
/// # On drop
/// It is killed, and its profile is deleted.
#[derive(Debug)]
pub struct Chromium {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The conversation with the tab; empty until there is one.
    session: String,
    requests: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Chromium {
    /// The path of the program. If it is not installed, `test` is left out.
    #[must_use]
    pub fn require(test: &str) -> Option<PathBuf> {
        let folders = env::var_os("PATH").unwrap_or_default();
        let program =
            env::split_paths(&folders).map(|folder| folder.join("chromium")).find(|path| path.exists());
        if program.is_none() {
            leave_out(test, "no Chromium (apt-get install chromium)");
        }
        program
    }

    /// Starts the browser with the page of this address.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer within 120 s.
    ///
    /// # Cancel safety
    /// The browser is killed when the future is dropped.
    pub async fn open(program: &Path, address: &str) -> io::Result<Self> {
        let profile = tempfile::Builder::new().prefix("amqp-chromium-").tempdir()?;
        // It reads commands from descriptor 3, and writes answers to 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 >/dev/null 2>&1"]).arg(program).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.env("HOME", profile.path()).kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let output = BufReader::new(output);
        let (session, complaints) = (String::new(), Vec::new());
        let mut this = Self { process, input, output, session, requests: 0, complaints, _profile: profile };
        this.show(address).await?;
        Ok(this)
    }

    async fn show(&mut self, address: &str) -> io::Result<()> {
        let tab = self.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", attach).await?;
        self.session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, json!({})).await?;
        }
        self.call("Page.navigate", json!({ "url": address })).await.map(drop)
    }

    /// Runs a script in the page, and returns the value of its last expression, or what the promise
    /// that it is resolves to.
    ///
    /// # Errors
    /// When the script throws, with what it threw; or does not end within 120 s.
    ///
    /// # Cancel safety
    /// The script goes on when the future is dropped.
    pub async fn evaluate(&mut self, script: &str) -> io::Result<Value> {
        let how = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", how).await?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(io::Error::other(thrown.to_string())),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// The complaints of the page's console, its policy and its scripts so far, and the
    /// dialogs that it opened.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Ends the browser.
    ///
    /// # Errors
    /// When it has not ended within 120 s; it is killed then.
    ///
    /// # Cancel safety
    /// The browser is killed when the future is dropped.
    pub async fn close(mut self) -> io::Result<()> {
        self.session.clear();
        self.call("Browser.close", json!({})).await?;
        timeout(DEADLINE, self.process.wait()).await?.map(drop)
    }

    async fn call(&mut self, method: &str, params: Value) -> io::Result<Value> {
        self.requests += 1;
        let id = self.requests;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.clone().into();
        }
        self.input.write_all(format!("{request}\0").as_bytes()).await?;
        timeout(DEADLINE, self.answer(id)).await?
    }

    async fn answer(&mut self, id: u64) -> io::Result<Value> {
        loop {
            let mut message = Vec::new();
            self.output.read_until(0, &mut message).await?;
            message.pop();
            let message: Value = serde_json::from_slice(&message)?;
            if message["id"] == id {
                let error = message.get("error").map(|error| io::Error::other(error.to_string()));
                return error.map_or_else(|| Ok(message["result"].clone()), Err);
            }
            self.note(&message).await?;
        }
    }

    /// Keeps an event that is a complaint, and closes a dialog, which would stop the page.
    async fn note(&mut self, event: &Value) -> io::Result<()> {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"]["text"].to_string());
            }
            Some("Page.javascriptDialogOpening") => {
                self.complaints.push(format!("dialog: {}", params["message"]));
                self.requests += 1;
                let close = json!({
                    "id": self.requests, "sessionId": self.session,
                    "method": "Page.handleJavaScriptDialog", "params": { "accept": false },
                });
                self.input.write_all(format!("{close}\0").as_bytes()).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
