//! A Python process with nodes and callers of kombu.

use serde_json::{Value, json};
use tests::{Python, PythonPeer};

use super::within;

const SCRIPT: &str = include_str!("kombu.py");

/// The process. It ends with its standard input.
pub(super) struct Kombu {
    peer: PythonPeer,
    /// The fields that commands have in common.
    common: Value,
}

impl Kombu {
    /// Starts it for a mailbox.
    pub(super) fn start(python: &Python, url: &str, namespace: &str, kind: &str) -> Self {
        let peer = PythonPeer::start(python, SCRIPT, &[url]).unwrap();
        Kombu { peer, common: json!({"namespace": namespace, "type": kind}) }
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
        let fields = command.as_object_mut().unwrap();
        fields.extend(self.common.as_object().unwrap().clone());
        within(self.peer.ask(what, command)).await.unwrap()
    }
}
