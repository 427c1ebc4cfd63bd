//! The quickstart as a user runs it: a process, its exit code and its output.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use tokio::process::Command;

use super::{
    example::example,
    fixture::{Broker, within},
};

async fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    within(command.output()).await.unwrap()
}

/// The rest of the line with this title.
fn told(output: &Output, title: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(title));
    lines.next().unwrap_or_else(|| panic!("no {title} in {output:?}")).trim().to_owned()
}

async fn wc_words(file: &str) -> String {
    let output = Command::new("wc").args(["-w", file]).env("LC_ALL", "C.UTF-8").output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().to_owned()
}

async fn counts_like_wc(program: &Path, content: &[u8], more: &[&str]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    let file = file.path().to_str().unwrap();
    let output = run(program, &[&[file], more].concat()).await;
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "progress is for terminals: {output:?}");
    assert_eq!(told(&output, "words:"), wc_words(file).await, "{output:?}");
    let lines = content.split_inclusive(|byte| *byte == b'\n').count().to_string();
    for title in ["lines:", "confirmed:", "consumed:"] {
        assert_eq!(told(&output, title), lines, "{output:?}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("notification quickstart.words.counted"));
}

async fn fails_naming(program: &Path, arguments: &[&str], what: &str) {
    let output = run(program, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(what) && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn it_counts_the_words_that_wc_counts() {
    let Some(program) = example("quickstart", "it_counts_the_words_that_wc_counts") else { return };
    let many = "one two  three\n".repeat(20_000);
    let contents: [&[u8]; 7] = [
        b"",
        b"\n\n",
        b"no end of line",
        " a\tb\nc\x0bd\x0ce\rf \u{2014} \u{e9}\u{a0}g\u{2003}h\u{202f}i\u{200b} j\u{2028}k\u{85}l \u{2060}\n"
            .as_bytes(),
        b"not \xff utf-8 \xe2\x80 at\xff all \x01 \x00 b\n\xc3\n",
        b"\r\n dos\r\n",
        many.as_bytes(),
    ];
    for content in contents {
        counts_like_wc(&program, content, &[]).await;
    }
}

#[tokio::test]
async fn two_at_once_do_not_disturb_each_other_on_rabbitmq_and_leave_nothing() {
    let test = "two_at_once_do_not_disturb_each_other_on_rabbitmq_and_leave_nothing";
    let (Some(program), Some(broker)) = (example("quickstart", test), Broker::rabbitmq(test)) else { return };
    let content = "these are five short words\n".repeat(500);
    let more = ["--url", &broker.url];
    let once = || counts_like_wc(&program, content.as_bytes(), &more);
    tokio::join!(once(), once());
    once().await;
    // Only a node started by the tests can list its queues.
    if let Ok(queues) = tests::Node::shared().unwrap().ctl(&["list_queues", "name"]).await {
        assert!(!queues.contains("quickstart"), "{queues}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let Some(program) = example("quickstart", "what_is_wrong_is_said_in_one_line") else { return };
    let broker = Broker::embedded().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let wrong_password = broker.url.replace("guest:guest", "guest:hunter2");
    let unknown_vhost = format!("{}nowhere", broker.url);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = format!("amqp://{closed}/");

    fails_naming(&program, &["/no/such/file"], "/no/such/file").await;
    fails_naming(&program, &[env!("CARGO_MANIFEST_DIR")], env!("CARGO_MANIFEST_DIR")).await;
    fails_naming(&program, &[file, "--url", "amqp://no-such-host.invalid/"], "no-such-host.invalid").await;
    fails_naming(&program, &[file, "--url", &refused], &closed.to_string()).await;
    fails_naming(&program, &[file, "--url", &wrong_password], "guest").await;
    fails_naming(&program, &[file, "--url", &unknown_vhost], "nowhere").await;
    fails_naming(&program, &[file, "--url", "ftp://host/"], "ftp").await;
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_named() {
    let Some(program) = example("quickstart", "a_port_that_speaks_something_else_is_named") else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2p1\r\n").await.unwrap();
        stream
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("amqp://{address}/");
    fails_naming(&program, &[file.path().to_str().unwrap(), "--url", &url], &address.to_string()).await;
    drop(other.await.unwrap());
}
