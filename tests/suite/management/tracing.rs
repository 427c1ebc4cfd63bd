//! The firehose: what is published and delivered is copied to `amq.rabbitmq.trace`.

use amqp_client::{
    Array, Binding, Channel, ConsumeOptions, Consumer, Exchange, GetOptions, Message, Queue, Table, Value,
};
use serde_json::json;

use super::{Managed, on_both, within};

const TRACE: &str = "amq.rabbitmq.trace";

/// A virtual host with tracing, and a consumer of the copies.
struct Traced {
    name: &'static str,
    channel: Channel,
    copies: Consumer,
}

async fn traced(broker: &Managed, name: &'static str) -> Traced {
    let vhost = broker.vhost(name).await;
    let path = format!("/api/vhosts/{vhost}");
    broker.api.put(&path, json!({ "tracing": true })).await.is(204);
    broker.api.get(&path).await.has(&json!({ "tracing": true }));
    let connection = broker.connect(&vhost).await;
    let channel = connection.open_channel().await.unwrap();
    channel.declare(Queue::new("copies")).await.unwrap();
    channel.bind(Binding::new("copies", TRACE).routing_key("#")).await.unwrap();
    let copies = channel.consume("copies", ConsumeOptions::new().no_ack(true)).await.unwrap();
    Traced { name, channel, copies }
}

impl Traced {
    /// The key, the headers and the body of the next copy. What tells of the connection is checked.
    async fn copy(&mut self) -> (String, Table, Vec<u8>) {
        let copy = within(self.copies.recv()).await.unwrap().unwrap();
        let mut headers = copy.properties().unwrap().headers.unwrap_or_default();
        for (name, value) in [("vhost", self.name), ("user", "guest")] {
            assert_eq!(headers.get(name).unwrap().as_str(), Some(value));
            headers.remove(name);
        }
        assert_eq!(headers.get("channel"), Some(Value::I32(self.channel.id().into())));
        let connection = headers.get("connection").unwrap();
        assert!(connection.as_str().unwrap().contains(" -> "), "{connection:?}");
        assert!(headers.get("node").unwrap().as_str().unwrap().contains('@'));
        for name in ["channel", "connection", "node"] {
            headers.remove(name);
        }
        (copy.routing_key().into_owned(), headers, copy.body().to_vec())
    }
}

fn text(text: &str) -> Value {
    Value::LongString(text.into())
}

fn texts(all: &[&str]) -> Value {
    let mut array = Array::new();
    all.iter().for_each(|one| array.push(text(one)).unwrap());
    Value::Array(array)
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let mut table = Table::new();
    entries.into_iter().for_each(|(name, value)| table.insert(name, value).unwrap());
    table.sort();
    table
}

fn sorted(mut headers: Table) -> Table {
    if let Some(Value::Table(mut properties)) = headers.get("properties") {
        properties.sort();
        headers.remove("properties");
        headers.insert("properties", properties).unwrap();
    }
    headers.sort();
    headers
}

async fn what_is_published_and_delivered_is_copied(broker: Managed) {
    let mut traced = traced(&broker, "management-traced").await;
    let channel = traced.channel.clone();
    channel.declare(Exchange::topic("e")).await.unwrap();
    channel.declare(Queue::new("q")).await.unwrap();
    channel.bind(Binding::new("q", "e").routing_key("k.#")).await.unwrap();
    let headers = table([("CC", texts(&["other"])), ("a", Value::I32(1))]);
    let message = Message::new("hello").persistent().content_type("text/plain").priority(3);
    channel.publish(("e", "k.1"), message.headers(headers.clone())).await.unwrap();
    let properties = table([
        ("content_type", text("text/plain")),
        ("delivery_mode", Value::I32(2)),
        ("priority", Value::I32(3)),
        ("headers", Value::Table(headers)),
    ]);
    let original = [
        ("exchange_name", text("e")),
        ("routing_keys", texts(&["k.1", "other"])),
        ("properties", Value::Table(properties)),
    ];
    let (key, copy, body) = traced.copy().await;
    let mut expected = table(original.clone());
    expected.insert("routed_queues", texts(&["q"])).unwrap();
    assert_eq!((key.as_str(), sorted(copy), &body[..]), ("publish.e", sorted(expected), &b"hello"[..]));
    for redelivered in [0, 1] {
        let got = channel.get("q", GetOptions::new()).await.unwrap().unwrap();
        let (key, copy, body) = traced.copy().await;
        let mut expected = table(original.clone());
        expected.insert("redelivered", Value::I32(redelivered)).unwrap();
        assert_eq!((key.as_str(), sorted(copy), &body[..]), ("deliver.q", sorted(expected), &b"hello"[..]));
        got.nack(true).await.unwrap();
    }
    let mut consumer = channel.consume("q", ConsumeOptions::new().no_ack(true)).await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(traced.copy().await.0, "deliver.q");
    // A message that goes to a waiting consumer straight away, one to nobody, and a large one.
    channel.publish(("", "q"), Message::new(vec![7; 300_000])).await.unwrap();
    let mut keys = [traced.copy().await, traced.copy().await];
    keys.sort_by(|one, other| one.0.cmp(&other.0));
    let large = vec![7; 300_000];
    assert_eq!(
        keys.each_ref().map(|(key, _, body)| (key.as_str(), body)),
        [("deliver.q", &large), ("publish.", &large)]
    );
    channel.publish(("e", "nowhere"), Message::new("lost")).await.unwrap();
    let (key, copy, _) = traced.copy().await;
    assert_eq!((key.as_str(), copy.get("routed_queues")), ("publish.e", Some(texts(&[]))));
}

async fn a_transaction_is_copied_before_its_commit_and_nothing_is_once_it_is_off(broker: Managed) {
    let mut traced = traced(&broker, "management-traced-commits").await;
    let channel = traced.channel.clone();
    channel.tx_select().await.unwrap();
    channel.publish(("", "nowhere"), Message::new("undone")).await.unwrap();
    channel.tx_rollback().await.unwrap();
    channel.publish(("", "nowhere"), Message::new("done")).await.unwrap();
    channel.tx_commit().await.unwrap();
    for expected in ["undone", "done"] {
        let (key, _, body) = traced.copy().await;
        assert_eq!((key.as_str(), &body[..]), ("publish.", expected.as_bytes()));
    }
    broker.api.put("/api/vhosts/management-traced-commits", json!({ "tracing": false })).await.is(204);
    channel.publish(("", "nowhere"), Message::new("unseen")).await.unwrap();
    channel.tx_commit().await.unwrap();
    broker.api.put("/api/vhosts/management-traced-commits", json!({ "tracing": true })).await.is(204);
    channel.publish(("", "nowhere"), Message::new("seen")).await.unwrap();
    channel.tx_commit().await.unwrap();
    assert_eq!(traced.copy().await.2, b"seen");
}

on_both!(
    what_is_published_and_delivered_is_copied,
    a_transaction_is_copied_before_its_commit_and_nothing_is_once_it_is_off,
);
