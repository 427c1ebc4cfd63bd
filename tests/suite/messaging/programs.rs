//! The example programs outside the repository: their standard input, error messages and logs.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Output, Stdio},
};

use amqp_client::DeleteOptions;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
};

use super::{
    example::example,
    fixture::{Broker, within},
    on_tcp_brokers,
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

/// A program that goes on until its test has ended. All that it says is in one stream.
struct Service {
    _process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let script = ["-c", r#"exec "$0" "$@" 2>&1"#, program.to_str().unwrap()];
        let shell = [&script, arguments].concat();
        let mut process = start(Path::new("sh"), &shell, Some("amqp_client=info"));
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Service { _process: process, said }
    }

    /// Waits until it has said these words in one line.
    async fn says(&mut self, words: &str) {
        while !within(self.said.next_line()).await.unwrap().expect(words).contains(words) {}
    }
}

/// `RUST_LOG` asks for the log, and a `-` stands for standard input.
#[tokio::test]
async fn each_runs_outside_the_repository_logs_when_asked_and_reads_standard_input() {
    let test =
        "messaging::programs::each_runs_outside_the_repository_logs_when_asked_and_reads_standard_input";
    let broker = Broker::embedded().await;
    let url = broker.url.as_str();
    let mut services = BTreeMap::new();
    for (name, arguments, ready) in [
        ("worker", &[url, "q"][..], "working on q"),
        ("topic_logs", &[url, "listen", "a.*"], "listening"),
        ("listener", &[url, "n"], "ready"),
        ("rpc_server", &[url, "t", "s"], "ready"),
        ("mailbox_node", &[url, "celery", "n@h", "--fanout"], "ready"),
    ] {
        let Some(program) = example(name, test) else { return };
        let mut service = Service::start(&program, arguments);
        service.says("INFO").await;
        service.says(ready).await;
        services.insert(name, service);
    }
    let patient = ["--destination", "n@h", "--timeout", "19"];
    for (name, arguments, input, service, said) in [
        (
            "publish",
            &[url, "q", "-"][..],
            r#"{"to": "alice"}"#,
            Some("worker"),
            r#"{"to":"alice"} (retries: 0)"#,
        ),
        ("topic_logs", &[url, "say", "a.b", "-"], "on fire", Some("topic_logs"), "a.b: on fire"),
        ("notifier", &[url, "p", "n", "info", "e", "-"], r#"{"x": 1}"#, Some("listener"), r#"{"x": 1}"#),
        ("rpc_client", &[url, "call", "t", "echo", "-"], r#"{"value": 7}"#, None, "7"),
        (
            "mailbox_call",
            &[&[url, "celery", "echo", "-", "--fanout"][..], &patient].concat(),
            r#"{"value": [1]}"#,
            None,
            r#"{"n@h":{"ok":[1]}}"#,
        ),
        ("celery_inspect", &[&[url, "ping"][..], &patient].concat(), "", None, r#"{"n@h":{"ok":"pong"}}"#),
        ("quickstart", &["-"], "these are five short words\n", None, "words:     5"),
        ("quickstart", &[], "", None, "words:     "),
    ] {
        let Some(program) = example(name, test) else { return };
        let output = end(start(&program, arguments, Some("amqp_client=info")), input).await;
        let (printed, logged) = (String::from_utf8_lossy(&output.stdout), errors(&output));
        assert!(output.status.success() && logged.contains("INFO"), "{name}: {logged}");
        match service {
            Some(service) => services.get_mut(service).unwrap().says(said).await,
            None => assert!(printed.contains(said), "{name}: {printed}"),
        }
    }
}

#[tokio::test]
async fn a_publish_gives_up_at_its_deadline() {
    let Some(publish) = example("publish", "messaging::programs::a_publish_gives_up_at_its_deadline") else {
        return;
    };
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("amqp://guest:guest@{address}/");
    let output = run(&publish, &[&url, "mails", "1", "--deadline", "1"], "").await;
    let said = errors(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("publish: the message") && said.contains("was not sent"), "{said}");
    assert!(said.contains("refused") && !said.contains('{'), "the whole chain, in words: {said}");
}

async fn a_publish_goes_on_trying_until_the_broker_is_there(broker: Broker) {
    let test = "messaging::programs::a_publish_goes_on_trying_until_the_broker_is_there";
    let Some(publish) = example("publish", test) else { return };
    let (mut proxy, url) = broker.proxied().await;
    proxy.refuse(true).await.unwrap();
    let queue = broker.name("mails");
    let arguments = [&url, &queue, "1", "--deadline", "3600"];
    let mut trying = start(&publish, &arguments, Some("messaging=debug"));
    let mut said = BufReader::new(trying.stderr.take().unwrap()).lines();
    while !within(said.next_line()).await.unwrap().unwrap().contains("it is published again") {}
    proxy.refuse(false).await.unwrap();
    assert!(within(trying.wait()).await.unwrap().success());
    let mut last = String::new();
    while let Some(line) = within(said.next_line()).await.unwrap() {
        last = line;
    }
    assert!(last.contains("published after "), "{last}");
    let channel = broker.channel().await;
    assert_eq!(channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap(), 1);
}

on_tcp_brokers!(a_publish_goes_on_trying_until_the_broker_is_there);

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
        ("mailbox_node", &[nowhere, "ns", "n"]),
        ("mailbox_call", &[nowhere, "ns", "ping"]),
        ("celery_inspect", &[nowhere, "ping"]),
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
