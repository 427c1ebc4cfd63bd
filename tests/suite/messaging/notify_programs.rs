//! The example programs of notifications, one listening to the other.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{
    example::example,
    fixture::{Broker, within},
};

struct Listener {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    async fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut listener = Listener { process, said };
        assert_eq!(within(listener.said.next_line()).await.unwrap().as_deref(), Some("ready"));
        listener
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(&within(self.said.next_line()).await.unwrap().unwrap()).unwrap()
    }

    /// Stops it; returns how many it reported.
    async fn stop(mut self) -> u32 {
        let id = self.process.id().unwrap().to_string();
        assert!(within(Command::new("kill").args(["-TERM", &id]).status()).await.unwrap().success());
        let mut lines = 0;
        while within(self.said.next_line()).await.unwrap().is_some() {
            lines += 1;
        }
        assert!(within(self.process.wait()).await.unwrap().success());
        lines
    }
}

#[tokio::test]
async fn the_listener_program_hears_the_notifier_program() {
    let test = "messaging::notify_programs::the_listener_program_hears_the_notifier_program";
    let (Some(notifier), Some(listener)) = (example("notifier", test), example("listener", test)) else {
        return;
    };
    let broker = Broker::embedded().await;
    let emit = async |topic: &str, level: &str, event_type: &str, payload: &str, more: &[&str]| {
        let mut command = Command::new(&notifier);
        command.args([&broker.url, "compute.host1", topic, level, event_type, payload]).args(more);
        within(command.stdin(Stdio::null()).kill_on_drop(true).output()).await.unwrap()
    };
    // Nobody listens yet.
    let payload = r#"{"z": 1208925819614629174706176, "a": [null]}"#;
    let output = emit("n,m", "info", "instance.end", payload, &["--context", r#"{"user": "alice"}"#]).await;
    assert!(output.status.success(), "{output:?}");
    let pool = [
        &broker.url[..],
        "n",
        "--pool",
        "p",
        "--event-type",
        "instance",
        "--batch",
        "2",
        "--batch-timeout",
        "9999",
    ];
    let mut pool = Listener::start(&listener, &pool).await;
    let mut topics = Listener::start(&listener, &[&broker.url, "n,m"]).await;
    for _ in ["n", "m"] {
        let line = within(topics.said.next_line()).await.unwrap().unwrap();
        assert!(line.contains(payload), "{line}");
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["level"], &event["event_type"]), (&json!("info"), &json!("instance.end")));
        assert_eq!(
            (&event["publisher_id"], &event["context"]),
            (&json!("compute.host1"), &json!({"user": "alice"}))
        );
        assert_eq!(event["message_id"].as_str().unwrap().len(), 36);
        assert!(event["timestamp"].as_str().unwrap().starts_with("20"), "{event}");
    }
    let output = emit("n", "warning", "network.end", "1.50", &["--v1"]).await;
    assert!(output.status.success(), "{output:?}");
    let event = topics.next().await;
    assert_eq!((&event["level"], &event["payload"]), (&json!("warn"), &json!(1.5)));
    // With the one that does not match its filter, the number is even for the batches of two.
    let output = emit("n", "error", "instance.bulk", "null", &["--count", "301"]).await;
    assert!(output.status.success(), "{output:?}");
    for _ in 0..301 {
        let both = [topics.next().await, pool.next().await];
        assert!(both.iter().all(|event| event["event_type"] == "instance.bulk"), "{both:?}");
    }
    assert_eq!((topics.stop().await, pool.stop().await), (0, 0));

    for (level, payload, why) in [("loud", "1", "level"), ("info", "{", "EOF")] {
        let output = emit("n", level, "e", payload, &[]).await;
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}
