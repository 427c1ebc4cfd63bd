//! `amqp celery`.

use std::process::Stdio;

use amqp_client::GetOptions;
use messaging::{Transport, celery::Service};
use tests::Python;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{ChildStderr, Command},
    time::timeout,
};

use super::{
    fixture::{Broker, DEADLINE},
    on_tcp_brokers,
};

const CELERY: &str = include_str!("../interop/celery_peer.py");

struct Idle;

impl Service for Idle {}

async fn workers_are_asked_and_told(broker: Broker) {
    let transport = Transport::connect(broker.url()).await.unwrap();
    let name = broker.name("worker");
    let node = transport.celery().node(&name, Idle).start().await.unwrap();
    let ping = ["celery", "inspect", "ping", "-d", &name, "--timeout", "20", "--json"];
    assert_eq!(
        broker.run(&ping).await.done(),
        format!("{{\"node\":{name:?},\"answer\":{{\"ok\":\"pong\"}}}}\n")
    );
    let control = ["celery", "control", "disable_events", "-d", &name, "--timeout", "20"];
    let told = broker.run(&control).await.done();
    assert!(told.starts_with("NODE") && told.contains(&name) && told.contains(r#"{"ok":"#), "{told}");
    node.stop().await;
    let nobody = ["celery", "inspect", "ping", "-d", &broker.name("nobody"), "--timeout", "0.3"];
    assert_eq!(broker.run(&nobody).await.code, 3);
    transport.close().await.unwrap();
}

async fn a_task_is_what_celery_sends(broker: Broker) {
    let queue = broker.name("tasks");
    let send =
        ["celery", "send", "tasks.add", "x:=1", "y=b", "-a", "[1,\"it's\"]", "-q", &queue, "--id", "t"];
    assert_eq!(broker.run(&send).await.code, 5);
    assert_eq!(broker.run(&[&send[..], &["--declare", "--countdown", "5"]].concat()).await.done(), "t\n");
    let channel = broker.channel().await;
    let task = channel.get(&queue, GetOptions::new().no_ack(true)).await.unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_slice(task.body()).unwrap();
    assert_eq!(body[0], serde_json::json!([1, "it's"]));
    assert_eq!(body[1], serde_json::json!({"x": 1, "y": "b"}));
    assert_eq!(
        body[2],
        serde_json::json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null})
    );
    let properties = task.properties().unwrap();
    let headers = properties.headers.unwrap();
    let text = |name: &str| headers.get(name).and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(text("task").as_deref(), Some("tasks.add"));
    assert_eq!((text("id").as_deref(), text("root_id").as_deref()), (Some("t"), Some("t")));
    assert_eq!(text("argsrepr").as_deref(), Some(r"(1, 'it\'s')"));
    assert_eq!(text("kwargsrepr").as_deref(), Some("{'x': 1, 'y': 'b'}"));
    assert!(text("eta").is_some_and(|eta| eta.ends_with("+00:00")));
    assert_eq!(properties.content_type.unwrap().to_text(), "application/json");
    assert_eq!(properties.correlation_id.unwrap().to_text(), "t");
    channel.delete_queue(&queue, amqp_client::DeleteOptions::new()).await.unwrap();
}

async fn a_worker_of_celery_runs_tasks_that_are_sent(broker: Broker) {
    let test = "cli::celery::a_worker_of_celery_runs_tasks_that_are_sent";
    let Some(python) = Python::require(test) else { return };
    let namespace = broker.name("celery");
    let name = broker.name("worker");
    let arguments = ["worker", broker.url(), &namespace, &name];
    let mut command = Command::from(python.command(CELERY, &arguments));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut worker = command.spawn().unwrap();
    let mut log = BufReader::new(worker.stderr.take().unwrap()).lines();
    until(&mut log, &[" ready."]).await;
    let queue = format!("{namespace}.tasks");
    for (arguments, sum) in
        [(&["a:=1", "b:=2"][..], ": 3"), (&["-a", "[4,5]"], ": 9"), (&["-a", "[4]", "b:=7"], ": 11")]
    {
        let line = [&["celery", "send", "tests.add", "-q", &queue], arguments].concat();
        let id = broker.run(&line).await.done();
        until(&mut log, &[&format!("tests.add[{}] succeeded in", id.trim()), sum]).await;
    }
    let unknown = broker.run(&["celery", "send", "tests.unknown", "-q", &queue]).await.done();
    until(&mut log, &["unregistered task of type", "tests.unknown"]).await;
    assert!(!unknown.is_empty());
    worker.kill().await.unwrap();
    broker.run(&["delete", "queue", &queue]).await.done();
}

/// Reads a log up to a line with all of these.
async fn until(log: &mut Lines<BufReader<ChildStderr>>, texts: &[&str]) {
    let mut seen = Vec::new();
    loop {
        let line =
            timeout(DEADLINE, log.next_line()).await.unwrap_or_else(|_| panic!("no {texts:?} in {seen:#?}"));
        let line = line.unwrap().unwrap_or_else(|| panic!("it ended without {texts:?}: {seen:#?}"));
        if texts.iter().all(|text| line.contains(text)) {
            return;
        }
        seen.push(line);
    }
}

on_tcp_brokers!(
    a_worker_of_celery_runs_tasks_that_are_sent,
    a_task_is_what_celery_sends,
    workers_are_asked_and_told,
);
