//! The example programs outside the repository: their standard input, error messages and logs.

use amqp_client::GetOptions;
use std::{
    path::Path,
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use super::{
    example::example,
    fixture::{Broker, within},
};

/// Starts a program in an empty folder, with this standard input and this log level.
fn start(program: &Path, arguments: &[&str], log: Option<&str>) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_LOG").kill_on_drop(true);
    command.current_dir(std::env::temp_dir()).env_remove("CARGO_MANIFEST_DIR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(log.map(|filter| ("RUST_LOG", filter)));
    command.spawn().unwrap()
}

async fn end(mut program: Child, input: &str) -> Output {
    let mut stdin = program.stdin.take().unwrap();
    // The program may not read it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    within(program.wait_with_output()).await.unwrap()
}

async fn run(program: &Path, arguments: &[&str], input: &str) -> Output {
    end(start(program, arguments, None), input).await
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn what_is_on_standard_input_is_published_and_counted() {
    let test = "messaging::programs::what_is_on_standard_input_is_published_and_counted";
    let (Some(publish), Some(quickstart)) = (example("publish", test), example("quickstart", test)) else {
        return;
    };
    let broker = Broker::embedded().await;
    let output = run(&publish, &[&broker.url, "mails", "-"], "{\"to\": \"alice\"}\n").await;
    assert!(output.status.success(), "{}", errors(&output));
    let channel = broker.channel().await;
    let mail = within(channel.get("mails", GetOptions::new())).await.unwrap().unwrap();
    assert_eq!(&mail.body()[..], br#"{"to":"alice"}"#);

    let output = run(&quickstart, &["-"], "these are five short words\n").await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("words:     5"), "{said} {}", errors(&output));
    // There is an error message even without a file.
    let output = run(&quickstart, &[], "").await;
    assert!(output.status.success(), "{}", errors(&output));
}

#[tokio::test]
async fn a_publish_goes_on_trying_until_the_broker_is_there_or_the_deadline() {
    let test = "messaging::programs::a_publish_goes_on_trying_until_the_broker_is_there_or_the_deadline";
    let Some(publish) = example("publish", test) else { return };
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("amqp://guest:guest@{address}/");
    let output = run(&publish, &[&url, "mails", "1", "--deadline", "1"], "").await;
    let said = errors(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("publish: the message") && said.contains("was not sent"), "{said}");
    assert!(said.contains("refused") && !said.contains('{'), "the whole chain, in words: {said}");

    let arguments = [&url, "mails", "1", "--deadline", "3600"];
    let mut trying = start(&publish, &arguments, Some("messaging=debug"));
    let mut said = BufReader::new(trying.stderr.take().unwrap()).lines();
    while !within(said.next_line()).await.unwrap().unwrap().contains("it is published again") {}
    let _listener = amqp_broker::Broker::builder().build().listen(address).await.unwrap();
    assert!(within(trying.wait()).await.unwrap().success());
    let mut last = String::new();
    while let Some(line) = within(said.next_line()).await.unwrap() {
        last = line;
    }
    assert!(last.contains("published after "), "{last}");
}

#[tokio::test]
async fn what_is_wrong_is_told_in_words_by_each() {
    let test = "messaging::programs::what_is_wrong_is_told_in_words_by_each";
    let nowhere = "amqp://guest:hunter2@no-such-host.invalid/";
    for (name, arguments) in [
        ("worker", &[nowhere, "q"][..]),
        ("topic_logs", &[nowhere, "say", "a.b", "x"]),
        ("publish", &[nowhere, "q", "no JSON"]),
        ("publish", &["ftp://host/", "q", "1"]),
        ("listener", &[nowhere, "n"]),
        ("notifier", &[nowhere, "p", "n", "info", "e", "{"]),
        ("rpc_server", &[nowhere, "t", "s"]),
        ("rpc_client", &[nowhere, "call", "t", "m", "[]"]),
    ] {
        let Some(program) = example(name, test) else { return };
        let output = run(&program, arguments, "").await;
        let said = errors(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{name}: {said}");
        let told = said.starts_with(&format!("{name}: ")) && !said.contains("hunter2");
        assert!(told && !said.contains(['{', '}']) && !said.contains("Error"), "{name}: {said}");
    }
}

#[tokio::test]
async fn what_is_logged_is_what_is_asked_for() {
    let test = "messaging::programs::what_is_logged_is_what_is_asked_for";
    let (Some(publish), Some(dead)) = (example("publish", test), example("dead_letters", test)) else {
        return;
    };
    let arguments = &["memory://programs", "q", "1"];
    for (log, logged) in [(None, false), (Some("amqp_client=info"), true)] {
        let output = end(start(&publish, arguments, log), "").await;
        assert!(output.status.success(), "{}", errors(&output));
        assert_eq!(errors(&output).contains("INFO"), logged, "{}", errors(&output));
    }
    let output = end(start(&dead, &[], Some("warn")), "").await;
    assert!(output.status.success(), "{}", errors(&output));
    assert!(errors(&output).contains("could not be handled"), "{}", errors(&output));
}
