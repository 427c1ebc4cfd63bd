//! The example programs of mailboxes, one calling the other.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{
    example::example,
    fixture::{Broker, within},
};

async fn started(program: &Path, url: &str, name: &str, more: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args([url, "ns", name]).args(more).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut node = command.spawn().unwrap();
    let mut said = BufReader::new(node.stdout.take().unwrap()).lines();
    assert_eq!(within(said.next_line()).await.unwrap().as_deref(), Some("ready"));
    node
}

fn replies(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut replies: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    replies.sort_by_key(Value::to_string);
    replies
}

#[tokio::test]
async fn the_calling_program_calls_the_node_programs() {
    let test = "messaging::mailbox_programs::the_calling_program_calls_the_node_programs";
    let (Some(node), Some(caller)) = (example("mailbox_node", test), example("mailbox_call", test)) else {
        return;
    };
    let broker = Broker::embedded().await;
    let mut first = started(&node, &broker.url, "w1@a", &[]).await;
    let mut second = started(&node, &broker.url, "w2@b", &["--silent"]).await;
    let call = async |arguments: &[&str]| -> Output {
        let mut command = Command::new(&caller);
        command.args([broker.url.as_str(), "ns"]).args(arguments);
        within(command.stdin(Stdio::null()).kill_on_drop(true).output()).await.unwrap()
    };
    let pong = |node: &str| json!({node: {"ok": "pong"}});
    for (arguments, expected) in [
        (&["ping", "--destination", "w1@a,w2@b"][..], vec![pong("w1@a"), pong("w2@b")]),
        (&["ping", "--limit", "2"], vec![pong("w1@a"), pong("w2@b")]),
        (&["ping", "--pattern", "*@b", "--limit", "1"], vec![pong("w2@b")]),
        (&["ping", "--pattern", "w1", "--matcher", "pcre", "--limit", "1"], vec![pong("w1@a")]),
        (
            &["echo", r#"{"value": [1, "é"]}"#, "--destination", "w1@a"],
            vec![json!({"w1@a": {"ok": [1, "é"]}})],
        ),
        (
            &["fail", r#"{"message": "no luck"}"#, "--destination", "w1@a"],
            vec![json!({"w1@a": {"error": "no luck"}})],
        ),
        (&["nosuch", "--limit", "1"], vec![json!({"w1@a": {"error": "KeyError('nosuch')"}})]),
    ] {
        let output = call(&[arguments, &["--timeout", "19"]].concat()).await;
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
        assert_eq!(replies(&output), expected, "{arguments:?}");
    }
    for (method, field) in [("time", "ok"), ("clock", "clock")] {
        let output = call(&[method, "--destination", "w1@a", "--timeout", "19"]).await;
        assert!(replies(&output)[0]["w1@a"][field].is_number(), "{output:?}");
    }
    let output = call(&["ping", "--cast"]).await;
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    for (arguments, code, why) in [
        (&["ping", "--destination", "dead", "--timeout", "0.3"][..], 69, "no node replied"),
        (&["nosuch", "--destination", "w2@b", "--timeout", "0.3"], 69, "no node replied"),
        (&["ping", "[]"], 1, "JSON object"),
        (&["ping", "--pattern", "(", "--matcher", "pcre"], 1, "pattern"),
        (&["ping", "--pattern", "x", "--matcher", "nosuch"], 1, "neither glob nor pcre"),
        (&["ping", "--timeout", "soon"], 1, "number of seconds"),
        (&["ping", "--fanout"], 1, "exchange"),
    ] {
        let output = call(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(why), "{said}");
    }
    // A name that is taken is said.
    let taken = Command::new(&node).args([&broker.url, "ns", "w1@a"]).stdin(Stdio::null()).output();
    let taken = within(taken).await.unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("running already"), "{taken:?}");

    let output = call(&["shutdown", "--destination", "w1@a", "--timeout", "19"]).await;
    assert_eq!(replies(&output), [json!({"w1@a": {"ok": "shutting down"}})]);
    assert!(within(first.wait()).await.unwrap().success());
    let id = second.id().unwrap().to_string();
    assert!(within(Command::new("kill").args(["-INT", &id]).status()).await.unwrap().success());
    assert!(within(second.wait()).await.unwrap().success());
}
