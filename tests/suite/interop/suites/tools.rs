//! The programs of Debian's amqp-tools, which use rabbitmq-c, on RabbitMQ and on the embedded
//! broker.

use std::{process::Stdio, time::Duration};

use amqp_broker::Broker;
use tests::{Node, leave_out};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

const DEADLINE: Duration = Duration::from_secs(60);

/// The commands in their order: standard input and arguments. `Q` is a queue of the test.
const COMMANDS: &[(&str, &str)] = &[
    ("", "amqp-declare-queue -q Q"),
    ("", "amqp-declare-queue -q amq.mine"),
    ("", "amqp-publish -r Q -b hello -C text/plain -p"),
    ("", "amqp-publish -r Q -b second"),
    ("", "amqp-publish -e nope -r Q -b lost"),
    ("", "amqp-get -q Q"),
    ("", "amqp-get -q Q.nope"),
    ("by its input\n", "amqp-publish -r Q"),
    ("first line\nlast line\n", "amqp-publish -r Q -l"),
    ("", "amqp-consume -q Q -c 3 cat"),
    ("", "amqp-consume -q Q -c 1 -p 1 -A cat"),
    ("", "amqp-get -q Q"),
    ("", "amqp-consume -q Q.nope -c 1 cat"),
    ("", "amqp-publish -r Q -b left"),
    ("", "amqp-declare-queue -q Q -d"),
    ("", "amqp-delete-queue -q Q -e"),
    ("", "amqp-delete-queue -q Q"),
    ("", "amqp-delete-queue -q Q"),
    ("", "amqp-get -q Q --password=wrong"),
    ("", "amqp-get -q Q --vhost=nope"),
];

/// Their output and exit codes.
const SAID: &str = "\
$ amqp-declare-queue -q Q
Q
= 0
$ amqp-declare-queue -q amq.mine
queue.declare: server channel error 403, message: ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'
= 1
$ amqp-publish -r Q -b hello -C text/plain -p
= 0
$ amqp-publish -r Q -b second
= 0
$ amqp-publish -e nope -r Q -b lost
closing channel: server channel error 404, message: NOT_FOUND - no exchange 'nope' in vhost '/'
= 1
$ amqp-get -q Q
hello
= 0
$ amqp-get -q Q.nope
basic.get: server channel error 404, message: NOT_FOUND - no queue 'Q.nope' in vhost '/'
= 1
$ amqp-publish -r Q
= 0
$ amqp-publish -r Q -l
= 0
$ amqp-consume -q Q -c 3 cat
secondby its input
first line
= 0
$ amqp-consume -q Q -c 1 -p 1 -A cat
last line
= 0
$ amqp-get -q Q
= 2
";

async fn run(port: u16, queue: &str) -> String {
    let mut said = String::new();
    for (input, line) in COMMANDS {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words.map(|word| word.replacen('Q', queue, 1)))
            .args(["--server=127.0.0.1", &format!("--port={port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // A program that needs no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
        let output = timeout(DEADLINE, child.wait_with_output()).await.expect(line).unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).replace(queue, "Q");
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        said += &format!("$ {line}\n{text}{newline}= {}\n", output.status.code().unwrap());
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_amqp_tools_say_and_end_as_with_rabbitmq() {
    let test = "interop::suites::tools::debians_amqp_tools_say_and_end_as_with_rabbitmq";
    if Command::new("amqp-publish").arg("--help").output().await.is_err() {
        return leave_out(test, "no amqp-tools (run tests/run)");
    }
    let queue = format!("tools-{}", std::process::id());
    let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
    let ours = run(listener.local_addr().port(), &queue).await;
    assert_eq!(ours.get(..SAID.len()), Some(SAID), "{ours}");
    if let Some(node) = Node::require(test) {
        assert_eq!(ours, run(node.port(), &queue).await);
    }
}
