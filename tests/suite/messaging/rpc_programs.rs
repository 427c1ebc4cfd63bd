//! The example programs of RPC, one calling the other.

use std::process::{Output, Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{
    example::example,
    fixture::{Broker, within},
};

#[tokio::test]
async fn the_client_program_calls_the_server_program() {
    let test = "messaging::rpc_programs::the_client_program_calls_the_server_program";
    let (Some(server), Some(client)) = (example("rpc_server", test), example("rpc_client", test)) else {
        return;
    };
    let broker = Broker::embedded().await;
    let mut server = Command::new(server);
    server.args([&broker.url, "t", "s1"]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    assert_eq!(within(said.next_line()).await.unwrap().as_deref(), Some("ready"));

    let run = async |kind: &str, method: &str, json: &str, more: &[&str]| -> Output {
        let mut command = Command::new(&client);
        command.args([broker.url.as_str(), kind, "t", method, json]).args(more);
        within(command.stdin(Stdio::null()).kill_on_drop(true).output()).await.unwrap()
    };
    let out = |output: &Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    for (method, json, more, result) in [
        ("add", r#"{"a": 1, "b": 2}"#, &["--version", "1.5"][..], "3"),
        ("add", r#"{"a": 1, "b": 0.5}"#, &[], "1.5"),
        (
            "echo",
            r#"{"value": {"b": 1208925819614629174706176, "a": null}}"#,
            &[],
            r#"{"b": 1208925819614629174706176, "a": null}"#,
        ),
        ("echo", r#"{"value": 1}"#, &["--namespace", "ns", "--version", "2.3"], r#"{"ns":1}"#),
        ("whoami", "{}", &["--server", "s1", "--monitor", "2"], r#""s1""#),
        ("sleep", r#"{"seconds": 0}"#, &[], "null"),
    ] {
        let output = run("call", method, json, more).await;
        assert!(output.status.success(), "{method}: {output:?}");
        assert_eq!(out(&output), result);
    }
    for kind in ["cast", "fanout"] {
        let output = run(kind, "whoami", "{}", &[]).await;
        assert!(output.status.success() && output.stdout.is_empty(), "{kind}: {output:?}");
    }
    let repeated = run("call", "whoami", "{}", &["--repeat", "20", "--concurrency", "4"]).await;
    assert!(out(&repeated).contains("calls/s") && out(&repeated).contains("p99"), "{repeated:?}");
    for (method, json, more, why) in [
        ("fail", r#"{"message": "no luck"}"#, &[][..], "no luck"),
        ("nope", "{}", &[], "nope"),
        ("echo", r#"{"value": 1}"#, &["--version", "1.6"], "version"),
        ("echo", "[]", &[], "JSON object"),
        ("sleep", r#"{"seconds": 1}"#, &["--timeout", "0.2"], "deadline"),
        ("whoami", "{}", &["--server", "nobody"], "no queue"),
    ] {
        let output = run("call", method, json, more).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{method}: {said}");
        assert!(said.contains(why), "{said}");
    }
    let id = server.id().unwrap().to_string();
    assert!(within(Command::new("kill").args(["-TERM", &id]).status()).await.unwrap().success());
    assert!(within(server.wait()).await.unwrap().success());
}
