//! The program itself.

use std::{fs, process::Stdio};

use tests::Redis;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::timeout,
};

use super::fixture::{Broker, DEADLINE};

#[tokio::test]
async fn help_lists_the_exit_codes_and_every_command() {
    let broker = Broker::embedded().await;
    let help = broker.run(&["--help"]).await.done();
    for text in ["Exit codes:\n  0    all is done", "  130  SIGINT", "\n  pub ", "\n  serve ", "AMQP_URL"] {
        assert!(help.contains(text), "{text}: {help}");
    }
    assert_eq!(broker.run(&["no-such-command"]).await.code, 2);
    assert_eq!(broker.run(&["get", "--no-such-flag"]).await.code, 2);
}

#[tokio::test]
async fn completions_and_manual_pages_know_all_commands() {
    let broker = Broker::embedded().await;
    for shell in ["bash", "zsh", "fish"] {
        let script = broker.run(&["completions", shell]).await.done();
        assert!(script.contains("idle-timeout") && script.contains("replay"), "{shell}");
    }
    let page = broker.run(&["man"]).await.done();
    assert!(page.starts_with(".ie") && page.contains("EXTRA") && page.contains("Exit codes"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    broker.run(&["man", folder.path().to_str().unwrap()]).await.done();
    for name in ["amqp.1", "amqp-pub.1", "amqp-declare-queue.1", "amqp-serve.1"] {
        assert!(fs::read_to_string(folder.path().join(name)).unwrap().contains(".TH"), "{name}");
    }
}

/// Starts `amqp serve` on a free port; returns it and its URL.
async fn serve(broker: &Broker, options: &[&str]) -> (Child, String) {
    let line = [&["serve", "--listen", "127.0.0.1:0", "--log", "error"], options].concat();
    let mut child = broker.command(line).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = line.strip_prefix("listening on ").expect(&line).to_owned();
    (child, format!("amqp://{address}"))
}

#[tokio::test]
async fn it_serves_the_queues_of_a_redis() {
    if !Redis::require("cli::program::it_serves_the_queues_of_a_redis") {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let broker = Broker::embedded().await;
    let (_child, url) = serve(&broker, &["--redis", &redis.url(0)]).await;
    broker.run(&["declare", "queue", "served", "--url", &url]).await.done();
    broker.run(&["pub", "-r", "served", "one", "two", "--url", &url]).await.done();
    // A list of kombu's, which a program without a broker reads too.
    assert_eq!(redis.ask("LLEN served").await.unwrap().trim(), ":2");
    assert_eq!(broker.run(&["get", "served", "--url", &redis.url(0)]).await.done(), "one\n");
    broker.run(&["pub", "-r", "served", "three", "--url", &redis.url(0)]).await.done();
    let rest = broker.run(&["get", "served", "--count", "0", "--url", &url]).await;
    assert_eq!(rest.done(), "two\nthree\n");
    assert_eq!(redis.ask("LLEN served").await.unwrap().trim(), ":0");
}

#[tokio::test]
async fn it_serves_as_the_broker_does() {
    let broker = Broker::embedded().await;
    let (mut child, url) = serve(&broker, &[]).await;
    broker.run(&["declare", "queue", "served", "--url", &url]).await.done();
    broker.run(&["pub", "-r", "served", "hi", "--url", &url]).await.done();
    assert_eq!(broker.run(&["get", "served", "--url", &url]).await.done(), "hi\n");
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    let stray = broker.run(&["serve", "--user", "a:pass", "word"]).await;
    assert!(stray.code == 2 && !stray.stderr.contains("word\""), "{stray:?}");
    let checked = broker.run(&["serve", "check-config", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(checked.done(), "the settings are valid\n");
}
