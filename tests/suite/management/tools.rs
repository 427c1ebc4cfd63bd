//! The tools that people use with the API: the rabbitmqadmin that RabbitMQ serves, and Prometheus's
//! check of what it would read.

use std::{
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use tests::{Python, leave_out};

use super::{Managed, within};

/// The commands of every day, with a part of their output.
const COMMANDS: [(&str, &str); 29] = [
    ("show overview", "rabbitmq_version"),
    ("declare vhost name=tools", "vhost declared"),
    ("list vhosts name", "tools"),
    ("-V tools declare queue name=q durable=true", "queue declared"),
    ("-V tools declare exchange name=e type=topic", "exchange declared"),
    ("-V tools declare binding source=e destination=q routing_key=a.#", "binding declared"),
    ("-V tools list queues name durable", "q"),
    ("-V tools list exchanges name type", "amq.topic"),
    ("-V tools list bindings source destination routing_key", "a.#"),
    ("-V tools publish exchange=e routing_key=a.b payload=hello", "Message published"),
    ("-V tools publish exchange=e routing_key=b payload=hello", "NOT routed"),
    ("-V tools get queue=q ackmode=ack_requeue_true", "hello"),
    ("-V tools get queue=q ackmode=ack_requeue_false", "True"),
    ("-V tools purge queue name=q", "queue purged"),
    (r#"-V tools declare policy name=p pattern=^q definition={"max-length":1}"#, "policy declared"),
    ("-V tools list policies name pattern", "^q"),
    ("declare user name=tools-user password=x tags=monitoring", "user declared"),
    ("declare permission vhost=tools user=tools-user configure=.* write=.* read=.*", "permission declared"),
    ("list users name tags", "tools-user"),
    ("list permissions user vhost", "tools-user"),
    ("list nodes name running", "True"),
    ("list connections name", ""),
    ("list channels name", ""),
    ("-V tools export FILE", "Exported definitions"),
    ("-V tools delete queue name=q", "queue deleted"),
    ("-V tools import FILE", "Uploaded definitions"),
    ("-V tools list queues name", "q"),
    ("delete user name=tools-user", "user deleted"),
    ("delete vhost name=tools", "vhost deleted"),
];

/// Runs the rabbitmqadmin of one broker on another, or on the same.
async fn rabbitmqadmin(test: &str, of: &Managed, on: &Managed) {
    let Some(python) = Python::require(test) else { return };
    let script = of.api.without_login().get("/cli/rabbitmqadmin").await.is(200).text;
    let (host, port) = on.api.authority().rsplit_once(':').unwrap();
    let run = async |arguments: &[&str]| {
        let output = python.run(&script, &[&["-H", host, "-P", port][..], arguments].concat()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    on.api.delete("/api/vhosts/tools").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    for (command, expected) in COMMANDS {
        let command = command.replace("FILE", file);
        let said = run(&command.split(' ').collect::<Vec<_>>()).await;
        assert!(said.contains(expected), "{command}: {said}");
    }
}

#[tokio::test]
async fn rabbitmqadmin_runs_on_rabbitmq() {
    let test = concat!(module_path!(), "::rabbitmqadmin_runs_on_rabbitmq");
    let Some(broker) = Managed::rabbitmq(test).await else { return };
    rabbitmqadmin(test, &broker, &broker).await;
}

#[tokio::test]
async fn rabbitmqadmin_of_rabbitmq_runs_on_the_broker() {
    let test = concat!(module_path!(), "::rabbitmqadmin_of_rabbitmq_runs_on_the_broker");
    let Some(rabbitmq) = Managed::rabbitmq(test).await else { return };
    rabbitmqadmin(test, &rabbitmq, &Managed::embedded().await).await;
}

#[tokio::test]
async fn promtool_has_nothing_to_say_of_the_metrics() {
    let broker = Managed::embedded().await;
    broker.api.put("/api/queues/%2F/q", serde_json::json!({ "durable": true })).await.is(201);
    let connection = broker.connect("/").await;
    let channel = within(connection.open_channel()).await.unwrap();
    let consumer = within(channel.consume("q", Default::default())).await.unwrap();
    let families = [
        "queue_coarse_metrics",
        "queue_metrics",
        "queue_consumer_count",
        "channel_metrics",
        "connection_metrics",
    ];
    let detailed = format!("/metrics/detailed?family={}", families.join("&family="));
    for path in ["/metrics", "/metrics/per-object", &detailed] {
        let page = broker.metrics.without_login().get(path).await.is(200).text;
        let mut promtool = Command::new("promtool");
        promtool
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = match promtool.spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let test = concat!(module_path!(), "::promtool_has_nothing_to_say_of_the_metrics");
                return leave_out(test, "no promtool (Debian's package prometheus)");
            }
            running => running.unwrap(),
        };
        running.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.is_empty(), "{path}: {said}");
    }
    drop(consumer);
    within(connection.close()).await.unwrap();
}
