//! `amqp tap`, `record` and `replay`.

use std::{fs, path::Path};

use amqp_client::{
    Array, Binding, Confirmation, ConsumeOptions, DeleteOptions, Exchange, Message, Properties, Queue, Table,
    Value,
};
use bytes::Bytes;
use tests::{Node, scale};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use super::{
    fixture::{Broker, ended},
    on_tcp_brokers,
};

/// The number of messages that are recorded and replayed; `AMQP_TEST_SCALE=100` makes it 100,000.
const RECORDED: usize = 1000;

/// Waits for the line that says that no message is missed from now on.
async fn ready(child: &mut Child) {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    assert!(
        line.starts_with("amqp: tapping amqp://guest:***@") || line.starts_with("amqp: recording"),
        "{line}"
    );
    // It must not find its standard error closed.
    tokio::spawn(async move { stderr.read_line(&mut String::new()).await });
}

async fn an_exchange_of_any_type_is_tapped_and_nobody_else_notices(broker: Broker) {
    let channel = broker.channel().await;
    for (kind, taps) in [("topic", ""), ("fanout", ""), ("headers", ""), ("direct", ":k")] {
        let exchange = broker.name(kind);
        channel.declare(Exchange::new(&exchange, kind).durable(true)).await.unwrap();
        let line = ["tap", &format!("{exchange}{taps}"), "-n", "1", "--format", "{{routing_key}} {{body}}"];
        let mut child = broker.command(line).spawn().unwrap();
        ready(&mut child).await;
        channel.publish((&exchange, "k"), &Message::new(kind)).await.unwrap();
        assert_eq!(ended(child).await.done(), format!("k {kind}"));
        channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
    }
    let refused = broker.run(&["tap", "amq.direct"]).await;
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("is direct, and routes by keys alone"), "{refused:?}");
    assert_eq!(broker.run(&["tap", &broker.name("missing")]).await.code, 1);
}

fn odd_properties() -> Properties {
    let mut headers = Table::default();
    headers.insert("n", Value::U8(7)).unwrap();
    headers.push("n", Value::F32(1.5)).unwrap();
    headers.insert("d", Value::Decimal { scale: 2, value: -5 }).unwrap();
    let mut array = Array::default();
    array.push(Value::Bytes(Bytes::from_static(&[0, 255]))).unwrap();
    headers.insert("a", Value::Array(array)).unwrap();
    Properties { headers: Some(headers), priority: Some(3), timestamp: Some(1), ..Properties::default() }
}

async fn what_is_recorded_is_replayed_octet_by_octet_and_in_order(broker: Broker) {
    let channel = broker.channel().await;
    let (source, copy) = (broker.name("source"), broker.name("copy"));
    for exchange in [&source, &copy] {
        channel.declare(Exchange::topic(exchange).durable(true)).await.unwrap();
    }
    let (first, second) = (broker.name("first"), broker.name("second"));
    for (queue, exchange) in [(&first, &source), (&second, &copy)] {
        channel.declare(Queue::durable(queue)).await.unwrap();
        channel.bind(Binding::new(queue, exchange).routing_key("#")).await.unwrap();
    }
    let number = u32::try_from(RECORDED * scale()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    let records = records.to_str().unwrap();
    let mut child = broker.command(["record", records, &source, "-n", &number.to_string()]).spawn().unwrap();
    ready(&mut child).await;
    let publisher = channel.publisher().await.unwrap();
    let mut confirms = Vec::new();
    for number in 0..number {
        let body = match number % 3 {
            0 => Bytes::from(format!("text {number}\n\u{1b}")),
            1 => Bytes::from(number.to_be_bytes().repeat(200)),
            _ => Bytes::new(),
        };
        let properties = if number % 2 == 0 { odd_properties() } else { Properties::default() };
        let (key, message) = (format!("k.{number}"), Message::with_properties(body, properties));
        confirms.push(publisher.publish((&source, &key), &message).await.unwrap());
    }
    for confirm in confirms {
        assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
    }
    ended(child).await.done();
    let line = ["replay", records, "--delay", "0", "--exchange", &copy, "--mandatory"];
    broker.run(&line).await.done();
    let mut originals = channel.consume(&first, ConsumeOptions::new().no_ack(true)).await.unwrap();
    // Of its own connection: what is read of one must not wait for the other.
    let other = broker.channel().await;
    let mut copies = other.consume(&second, ConsumeOptions::new().no_ack(true)).await.unwrap();
    for number in 0..number {
        let (original, copy) =
            (originals.recv().await.unwrap().unwrap(), copies.recv().await.unwrap().unwrap());
        assert_eq!(original.routing_key(), format!("k.{number}"));
        assert_eq!(original.routing_key(), copy.routing_key());
        assert_eq!(original.encoded_properties(), copy.encoded_properties());
        assert_eq!(original.body(), copy.body());
    }
    for exchange in [&source, &copy] {
        channel.delete_exchange(exchange, DeleteOptions::new()).await.unwrap();
    }
}

/// Records the messages of a queue, and returns the only file.
async fn recorded(broker: &Broker, folder: &Path, bodies: &[&str]) -> std::path::PathBuf {
    let queue = broker.queue_with("to-record", bodies).await;
    let line = ["record", folder.to_str().unwrap(), "--queue", &queue, "-n", &bodies.len().to_string()];
    broker.run(&line).await.done();
    assert!(broker.bodies_of(&queue).await.is_empty());
    folder.join("000001.jsonl")
}

/// Changes the text of a file of records.
type Damage = fn(String) -> String;

#[tokio::test]
async fn damaged_records_and_other_formats_are_told_before_anything_is_published() {
    let broker = Broker::embedded().await;
    let target = broker.queue_with("target", &[]).await;
    let damages: [(&str, Damage, &str); 5] = [
        ("changed", |text| text.replace("two", "tow"), "line 3: damaged record: the checksum does not match"),
        ("cut", |text| text[..text.len() - 9].to_owned(), "line 3: damaged record: it is cut off"),
        ("junk", |text| text + "junk\n", "line 4: damaged record: "),
        (
            "later",
            |text| text.replacen("\"version\":1", "\"version\":9", 1),
            "it has version 9 of the format",
        ),
        ("other", |_| "{}\n".to_owned(), "the first line does not name the format amqp-record"),
    ];
    for (name, damage, why) in damages {
        let folder = tempfile::tempdir().unwrap();
        let file = recorded(&broker, folder.path(), &["one", "two"]).await;
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, damage(text)).unwrap();
        let line = ["replay", folder.path().to_str().unwrap(), "--exchange=", "-r", &target];
        let refused = broker.run(&line).await;
        assert_eq!(refused.code, 6, "{name}: {refused:?}");
        assert!(refused.stderr.contains(why), "{name}: {refused:?}");
    }
    assert!(broker.bodies_of(&target).await.is_empty());
    let empty = tempfile::tempdir().unwrap();
    let none = broker.run(&["replay", empty.path().to_str().unwrap()]).await;
    assert!(none.code == 6 && none.stderr.contains("there are no records"), "{none:?}");
}

#[tokio::test]
async fn records_are_not_overwritten_unless_they_are_added_to() {
    let broker = Broker::embedded().await;
    let folder = tempfile::tempdir().unwrap();
    recorded(&broker, folder.path(), &["one"]).await;
    let queue = broker.queue_with("more", &["two"]).await;
    let line = ["record", folder.path().to_str().unwrap(), "--queue", &queue, "-n", "1"];
    let refused = broker.run(&line).await;
    assert!(refused.code == 2 && refused.stderr.contains("--append adds to them"), "{refused:?}");
    let line = [&line[..], &["--append"]].concat();
    broker.run(&line).await.done();
    let target = broker.queue_with("target", &[]).await;
    let line = ["replay", folder.path().to_str().unwrap(), "--exchange=", "-r", &target, "--speed", "1000"];
    broker.run(&line).await.done();
    assert_eq!(broker.bodies_of(&target).await, ["one", "two"]);
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_not_followed_and_the_message_stays_in_its_queue() {
    let broker = Broker::embedded().await;
    let queue = broker.queue_with("linked", &["one"]).await;
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("000001.jsonl")).unwrap();
    let path = folder.path().to_str().unwrap();
    let refused = broker.run(&["record", path, "--queue", &queue, "-n", "1"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(broker.bodies_of(&queue).await, ["one"]);
}

/// Taps the default exchange of a virtual host whose firehose is on.
async fn the_default_exchange_is_tapped(broker: &Broker) {
    let queue = broker.queue_with("traced", &[]).await;
    let mut child = broker.command(["tap", "", "-n", "1", "--json"]).spawn().unwrap();
    ready(&mut child).await;
    broker.run(&["pub", "-r", &queue, "-p", "-H", "n:=1", "body"]).await.done();
    let message: serde_json::Value = serde_json::from_str(&ended(child).await.done()).unwrap();
    assert_eq!((&message["exchange"], &message["routing_key"]), (&"".into(), &queue.into()));
    assert_eq!(message["properties"], serde_json::json!({"delivery_mode": 2, "headers": {"n": 1}}));
    assert_eq!(message["body"], "body");
}

#[tokio::test]
async fn the_default_exchange_is_tapped_by_the_firehose() {
    let broker = amqp_broker::Broker::builder().build();
    assert!(broker.set_tracing("/", true));
    the_default_exchange_is_tapped(&Broker::on(broker.listen("127.0.0.1:0").await.unwrap())).await;
}

#[tokio::test]
async fn the_default_exchange_of_a_rabbitmq_is_tapped_by_the_firehose() {
    let test = "cli::recording::the_default_exchange_of_a_rabbitmq_is_tapped_by_the_firehose";
    let Some(node) = Node::require(test) else { return };
    let vhost = format!("firehose-{}", std::process::id());
    node.ctl(&["add_vhost", &vhost]).await.unwrap();
    node.ctl(&["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"]).await.unwrap();
    node.ctl(&["trace_on", "-p", &vhost]).await.unwrap();
    the_default_exchange_is_tapped(&Broker::at(node.uri_for("guest", "guest", &vhost))).await;
    node.ctl(&["delete_vhost", &vhost]).await.unwrap();
}

on_tcp_brokers!(
    an_exchange_of_any_type_is_tapped_and_nobody_else_notices,
    what_is_recorded_is_replayed_octet_by_octet_and_in_order,
);
