//! A Python process with kombu on a virtual transport.

use serde_json::{Value, json};
use tests::{Python, PythonPeer};

use super::within;

const SCRIPT: &str = include_str!("kombu.py");

/// The process. It ends with its standard input.
pub(super) struct Kombu {
    peer: PythonPeer,
}

impl Kombu {
    pub(super) fn start(python: &Python, url: &str, transport_options: &Value) -> Self {
        let options = transport_options.to_string();
        Kombu { peer: PythonPeer::start(python, SCRIPT, &[url, &options]).unwrap() }
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

    /// Consumes from a Broadcast queue of this exchange from now on.
    pub(super) async fn listen(&mut self, exchange: &str) {
        self.ask("listen", json!({"exchange": exchange})).await;
    }

    /// The first so many messages of the Broadcast queue.
    pub(super) async fn hear(&mut self, count: usize) -> Value {
        self.ask("hear", json!({"count": count})).await
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
        self.peer.kill().await.unwrap();
    }

    /// Puts bodies into a SimpleQueue, or takes so many out of it.
    pub(super) async fn simple(&mut self, command: Value) -> Value {
        self.ask("simple", command).await
    }

    /// How many messages the queue holds.
    pub(super) async fn size(&mut self, queue: &str) -> u64 {
        self.ask("size", json!({"queue": queue})).await.as_u64().unwrap()
    }

    async fn ask(&mut self, what: &str, command: Value) -> Value {
        let answer = within(self.peer.ask(what, command)).await.unwrap();
        answer.unwrap_or_else(|error| panic!("{what}: {error}"))
    }
}
