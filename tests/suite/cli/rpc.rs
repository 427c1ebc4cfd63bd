//! `amqp request`, `reply`, `notify` and `listen`.

use messaging::{Target, Transport, rpc::Endpoint};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use super::{fixture::Broker, on_tcp_brokers};

/// Waits until a program says that it serves.
async fn serving(child: &mut Child) {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("amqp: serving"), "{line}");
    tokio::spawn(
        async move { while stderr.read_line(&mut String::new()).await.is_ok_and(|read| read > 0) {} },
    );
}

async fn a_request_is_answered_by_a_program(broker: Broker) {
    let queue = broker.queue_with("requests", &[]).await;
    let line = ["reply", &queue, "-n", "2", "--", "sh", "-c", "grep -q bad && exit 1; printf reply"];
    let mut child = broker.command(line).spawn().unwrap();
    serving(&mut child).await;
    let format = ["--format", "{{body}} {{property.correlation_id}}", "--correlation-id", "c"];
    let reply = broker.run(&[&["request", "-r", &queue, "good"], &format[..]].concat()).await;
    assert_eq!(reply.done(), "reply c");
    let none = broker.run(&["request", "-r", &queue, "bad", "--timeout", "0.5"]).await;
    assert_eq!(none.code, 3);
    assert!(none.stderr.contains("there is no reply within 500ms"), "{none:?}");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let nobody = broker.run(&["request", "-r", &broker.name("nobody"), "x"]).await;
    assert_eq!(nobody.code, 5, "{nobody:?}");
    assert!(broker.bodies_of(&queue).await.is_empty());
}

async fn a_method_of_oslo_messaging_is_called(broker: Broker) {
    let topic = broker.name("math");
    let transport = Transport::connect(broker.url()).await.unwrap();
    let endpoint = Endpoint::new().method("add", |_, arguments: serde_json::Value| async move {
        Ok(arguments["a"].as_i64().unwrap_or_default() + arguments["b"].as_i64().unwrap_or_default())
    });
    let server =
        transport.rpc_server(Target::topic(&topic).server("one")).endpoint(endpoint).start().await.unwrap();
    let call = ["request", "--oslo", &topic, "add", "a:=1", "b:=2"];
    assert_eq!(broker.run(&call).await.done(), "3\n");
    assert_eq!(broker.run(&[&call[..], &["--server", "one"]].concat()).await.done(), "3\n");
    assert_eq!(broker.run(&[&call[..], &["--cast"]].concat()).await.done(), "");
    let missing = broker.run(&["request", "--oslo", &topic, "missing"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("no method \"missing\""), "{missing:?}");
    let nobody = broker.run(&["request", "--oslo", &broker.name("nobody"), "add"]).await;
    assert_eq!(nobody.code, 5, "{nobody:?}");
    server.stop().await.unwrap();
    transport.close().await.unwrap();
}

async fn a_program_serves_the_methods_of_oslo_messaging(broker: Broker) {
    let topic = broker.name("program");
    let script = "case $1 in echo) cat;; fail) exit 3;; *) echo '{\"method\":\"'$1'\"}';; esac";
    let line = ["reply", "--oslo", &topic, "--server", "one", "--", "sh", "-c", script, "sh"];
    let mut child = broker.command(line).spawn().unwrap();
    serving(&mut child).await;
    let transport = Transport::connect(broker.url()).await.unwrap();
    let client = transport.rpc_client(Target::topic(&topic));
    let arguments = serde_json::json!({"a": [1, "x"]});
    assert_eq!(client.call::<serde_json::Value>("echo", &arguments).await.unwrap(), arguments);
    let named: serde_json::Value = client.call("other", &()).await.unwrap();
    assert_eq!(named["method"], "other");
    let failed = client.call::<serde_json::Value>("fail", &()).await.unwrap_err();
    assert!(messaging::Report(&failed).to_string().contains("exit status: 3"), "{failed:?}");
    transport.close().await.unwrap();
    child.kill().await.unwrap();
}

async fn notifications_are_kept_until_they_are_printed(broker: Broker) {
    let topic = broker.name("notifications");
    let notify = ["notify", &topic, "instance.create", r#"{"id":12}"#, "--publisher-id", "compute.host"];
    broker.run(&notify).await.done();
    broker.run(&[&notify[..], &["--level", "error"]].concat()).await.done();
    let listen = ["listen", &topic, "-n", "2", "--json"];
    let said = broker.run(&listen).await.done();
    let mut levels = Vec::new();
    for line in said.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["payload"], serde_json::json!({"id": 12}));
        assert_eq!(
            (&event["event_type"], &event["publisher_id"]),
            (&"instance.create".into(), &"compute.host".into())
        );
        levels.push(event["level"].as_str().unwrap().to_owned());
    }
    levels.sort();
    assert_eq!(levels, ["error", "info"]);
    assert_eq!(broker.run(&["listen", &topic, "--idle-timeout", "0.2"]).await.code, 3);
    assert_eq!(broker.run(&["notify", &topic, "x", "no json"]).await.code, 2);
}

on_tcp_brokers!(
    a_method_of_oslo_messaging_is_called,
    a_program_serves_the_methods_of_oslo_messaging,
    a_request_is_answered_by_a_program,
    notifications_are_kept_until_they_are_printed,
);
