//! Our side is killed during a call: the example programs, with Python at the other end.

use std::process::Stdio;

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{Meeting, on_both_brokers, within};
use crate::messaging::example::example;

/// Runs a server until it is killed or dropped.
async fn program(meeting: &Meeting, topic: &str, name: &str, more: &[&str]) -> Option<Child> {
    let mut command = Command::new(example("rpc_server", "interop::oslo::killed")?);
    command.args([&meeting.python_url("").replace("/?", "/"), topic, name]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().unwrap();
    let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
    assert_eq!(within(said.next_line()).await.unwrap().as_deref(), Some("ready"));
    Some(program)
}

async fn a_server_of_ours_that_is_killed_is_given_up_by_a_call_that_watches_it(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    let Some(mut first) = program(&meeting, &topic, "first", &[]).await else { return };
    let more = json!({"monitor": 2, "timeout": 50});
    let call = meeting.python.call(&url, &topic, "sleep", json!({"seconds": 1000}), more);
    let kill = async {
        // Requests arrive in order: once this is answered, the other has begun or is about to be
        // sent.
        meeting.python.call(&url, &topic, "whoami", json!({}), json!({})).await.unwrap();
        first.kill().await.unwrap();
    };
    let (answer, ()) = within(async { tokio::join!(call, kill) }).await;
    assert_eq!(answer.unwrap_err().class, "MessagingTimeout");
    let Some(mut second) = program(&meeting, &topic, "second", &[]).await else { return };
    let answer = meeting.python.call(&url, &topic, "whoami", json!({}), json!({})).await;
    assert_eq!(answer.unwrap(), "second");
    within(second.kill()).await.unwrap();
}

async fn what_a_killed_server_of_ours_ran_another_runs_again_when_it_acknowledges_after(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    let Some(mut first) = program(&meeting, &topic, "first", &["--acknowledge-after"]).await else { return };
    // This leaves time for the kill, and for noticing that our connection is gone.
    let call = meeting.python.call(&url, &topic, "sleep", json!({"seconds": 3}), json!({"timeout": 50}));
    let restart = async {
        meeting.python.call(&url, &topic, "whoami", json!({}), json!({})).await.unwrap();
        first.kill().await.unwrap();
        program(&meeting, &topic, "second", &["--acknowledge-after"]).await.unwrap()
    };
    let (answer, mut second) = within(async { tokio::join!(call, restart) }).await;
    answer.unwrap();
    within(second.kill()).await.unwrap();
}

async fn a_client_of_ours_that_is_killed_leaves_a_python_server_at_work(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    let Some(client) = example("rpc_client", "interop::oslo::killed") else { return };
    meeting.python.serve(&url, &topic, "python").await.unwrap();
    let mut command = Command::new(client);
    command.args([&url.replace("/?", "/"), "call", &topic, "bump", "{}", "--repeat", "100000000"]);
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let counted = async || meeting.python.call(&url, &topic, "counted", json!({}), json!({})).await.unwrap();
    within(async { while counted().await.as_u64().unwrap() < 10 {} }).await;
    // It dies during one of its calls, or before the next.
    client.kill().await.unwrap();
    for _ in 0..5 {
        assert!(counted().await.as_u64().unwrap() >= 10);
    }
    meeting.python.stop(&topic, "python").await;
}

on_both_brokers! {
    a_server_of_ours_that_is_killed_is_given_up_by_a_call_that_watches_it,
    what_a_killed_server_of_ours_ran_another_runs_again_when_it_acknowledges_after,
    a_client_of_ours_that_is_killed_leaves_a_python_server_at_work,
}
