//! kombu's messages read here, and ours read by kombu, through RabbitMQ and through our broker.

use std::{collections::HashMap, time::Duration};

use amqp_broker::Broker;
use amqp_client::{DeleteOptions, GetOptions};
use bytes::Bytes;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use messaging::{
    Array, Compression, Consumer, Delivery, Error, Exchange, Malformed, Producer, Properties, PublishOptions,
    Queue, Serializers, Table, Transport, Value as Header,
    tagged::{self, Value},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tests::{Node, Python};
use tokio::time::timeout;
use uuid::Uuid;

const SCRIPT: &str = include_str!("kombu.py");
const DEADLINE: Duration = Duration::from_secs(60);

/// A field of each type that has no form in JSON, as in kombu.py.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    #[serde(with = "tagged")]
    naive: NaiveDateTime,
    #[serde(with = "tagged")]
    utc: DateTime<Utc>,
    #[serde(with = "tagged")]
    fixed: DateTime<FixedOffset>,
    #[serde(with = "tagged")]
    date: NaiveDate,
    #[serde(with = "tagged")]
    time: NaiveTime,
    #[serde(with = "tagged")]
    decimal: Decimal,
    #[serde(with = "tagged")]
    small: Decimal,
    #[serde(with = "tagged")]
    uuid: Uuid,
    #[serde(with = "tagged")]
    text_bytes: Vec<u8>,
    #[serde(with = "tagged")]
    other_bytes: Bytes,
    #[serde(with = "tagged")]
    some: Option<NaiveDate>,
    #[serde(with = "tagged")]
    none: Option<Uuid>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Packed {
    name: String,
    size: u32,
    #[serde(with = "tagged")]
    data: Bytes,
}

fn everything() -> Everything {
    let date = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap();
    Everything {
        naive: date.and_hms_micro_opt(3, 4, 5, 678_901).unwrap(),
        utc: date.and_hms_opt(3, 4, 5).unwrap().and_utc(),
        fixed: "2024-01-02T03:04:05-03:30".parse().unwrap(),
        date,
        time: NaiveTime::from_hms_micro_opt(3, 4, 5, 6).unwrap(),
        decimal: Decimal::new(150, 2),
        small: Decimal::new(1, 7),
        uuid: Uuid::from_u128(0x12345678_12345678_12345678_12345678),
        text_bytes: b"abc".to_vec(),
        other_bytes: Bytes::from_static(b"\xff\0"),
        some: Some(date),
        none: None,
    }
}

fn packed() -> Packed {
    Packed { name: "é".into(), size: 300, data: Bytes::from_static(b"\xff\0") }
}

fn long() -> String {
    "again and ".repeat(1000)
}

/// A header of each type that Python has.
fn headers() -> Vec<(&'static str, Header)> {
    let mut list = Array::new();
    list.push(1_i32).unwrap();
    list.push("a").unwrap();
    let mut table = Table::new();
    table.insert("at", Header::Timestamp(1_704_067_200)).unwrap();
    vec![
        ("bool", Header::Bool(true)),
        ("int", Header::I32(-7)),
        ("big", Header::I64(1 << 40)),
        ("float", Header::F64(1.5)),
        ("none", Header::Void),
        ("text", "é".into()),
        ("bytes", Header::LongString(Bytes::from_static(b"\xff").into())),
        ("list", Header::Array(list)),
        ("dict", Header::Table(table)),
        ("decimal", Header::Decimal { scale: 2, value: 125 }),
    ]
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing within the deadline")
}

struct Peers {
    transport: Transport,
    prefix: String,
}

impl Peers {
    async fn connect(url: &str) -> Self {
        let transport = within(Transport::connect(url)).await.unwrap();
        Peers { transport, prefix: format!("kombu-{}", std::process::id()) }
    }

    fn queue(&self, name: &str) -> Queue {
        let queue = Queue::new(format!("{}.{name}", self.prefix));
        if name == "priority" { queue.max_priority(9) } else { queue }
    }

    /// Publishes what kombu.py expects, with priorities, and a message that it must not get.
    async fn publish(&self) {
        let producer = self.transport.producer(Exchange::default()).mandatory(true);
        let queue = self.queue("to_python");
        let named = |name| PublishOptions::new().declare(&queue).message_id(name).unwrap();
        let to = Publishing { producer: &producer, queue: queue.name() };

        to.publish(&everything(), named("tagged")).await;
        let plain = [
            ("text", Value::from("é😀")),
            ("big", Value::Integer(1 << 80)),
            ("float", 1.5.into()),
            ("list", vec![1.into(), Value::Null, true.into(), Value::Object(Default::default())].into()),
        ];
        to.publish(&HashMap::from(plain), named("plain")).await;
        to.publish("é", named("text").serializer("text")).await;
        to.publish(&b"\xff\0", named("raw").serializer("raw")).await;
        to.publish(&packed(), named("msgpack").serializer("msgpack")).await;
        for (name, compression) in compressions() {
            to.publish(&long(), named(name).compression(compression)).await;
        }
        let with_headers = headers()
            .into_iter()
            .try_fold(named("headers"), |options, (name, header)| options.header(name, header));
        to.publish(&1, with_headers.unwrap()).await;
        to.publish(&2, with_properties(named("properties")).unwrap()).await;
        to.publish(&3, named("requeue")).await;

        let by_priority = self.queue("priority");
        let to = Publishing { producer: &producer, queue: by_priority.name() };
        for priority in [1, 9, 5] {
            let options = PublishOptions::new().declare(&by_priority).priority(priority);
            to.publish(&priority, options).await;
        }
        let expired = self.queue("expired");
        let to = Publishing { producer: &producer, queue: expired.name() };
        let options = PublishOptions::new().declare(&expired).expiration(Duration::ZERO);
        to.publish("late", options).await;
    }

    /// Reads what kombu.py has published.
    async fn read(&self) {
        let mut messages = Vec::new();
        let serializers = Serializers::new();
        let subscription = self.transport.consumer(self.queue("to_rust")).serializers(serializers.clone());
        let mut consumer: Consumer<Value> = subscription.start().await.unwrap();
        while messages.len() < MESSAGES {
            match within(consumer.recv()).await.unwrap() {
                Ok(delivery) if name_of(&delivery) == "requeue" && !delivery.redelivered() => {
                    delivery.requeue().await.unwrap();
                }
                Ok(delivery) => {
                    let name = name_of(&delivery);
                    assert_eq!(delivery.redelivered(), name == "requeue", "{name}");
                    messages.push((name, delivery.body().clone(), delivery.properties().unwrap()));
                    delivery.ack().await.unwrap();
                }
                Err(Error::Undecodable(refused)) => {
                    assert!(matches!(refused.reason, Malformed::Refused { name: "pickle", .. }), "{refused}");
                    messages.push(("pickle".into(), Value::Null, Properties::default()));
                    refused.reject().await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        for (name, body, properties) in &messages {
            check(name, body, properties);
        }
        let mut names: Vec<_> = messages.into_iter().map(|(name, ..)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), MESSAGES, "{names:?}");
        consumer.close().await.unwrap();
    }

    async fn read_by_priority(&self) {
        let consumer = self.transport.consumer(self.queue("priority")).prefetch(1);
        let mut consumer = consumer.start::<u8>().await.unwrap();
        for expected in [9, 5, 1] {
            let delivery = within(consumer.recv()).await.unwrap().unwrap();
            let priority = delivery.properties().unwrap().priority;
            assert_eq!((*delivery.body(), priority), (expected, Some(expected)));
            delivery.ack().await.unwrap();
        }
        consumer.close().await.unwrap();
    }
}

struct Publishing<'a> {
    producer: &'a Producer,
    queue: &'a str,
}

impl Publishing<'_> {
    async fn publish<T: Serialize + ?Sized>(&self, body: &T, options: PublishOptions) {
        within(self.producer.ensure_publish((self.queue, &options), body)).await.unwrap();
    }
}

/// How many messages kombu.py publishes.
const MESSAGES: usize = 15;

/// The compressions by the names that kombu.py uses.
fn compressions() -> [(&'static str, Compression); 5] {
    [
        ("zlib", Compression::Zlib),
        ("bzip2", Compression::Bzip2),
        ("lzma", Compression::Xz),
        ("brotli", Compression::Brotli),
        ("zstd", Compression::Zstd),
    ]
}

fn with_properties(options: PublishOptions) -> Result<PublishOptions, Error> {
    let options =
        options.transient().priority(7).expiration(Duration::from_secs(60)).timestamp(1_700_000_000);
    options.correlation_id("c")?.reply_to("r")?.kind("k")?.app_id("a")?.user_id("guest")
}

fn name_of(delivery: &Delivery<Value>) -> String {
    delivery.properties().unwrap().message_id.unwrap().to_string()
}

/// Checks the message that kombu.py publishes under this name.
fn check(name: &str, body: &Value, properties: &Properties) {
    let content = properties.content_type.as_ref().map(ToString::to_string).unwrap_or_default();
    let is = |expected: &Value, content_type: &str| {
        assert_eq!((body, content.as_str()), (expected, content_type), "{name}");
    };
    match name {
        "tagged" => {
            // Decoded without types it equals ours; it is then decoded with types.
            let ours = Serializers::new().encode("json", &everything()).unwrap();
            let read: Value = Serializers::new().decode(Some("application/json"), None, &ours.body).unwrap();
            is(&read, "application/json");
            assert!(matches!(body.get("fixed"), Some(Value::DateTimeWithZone(_))), "{body:?}");
            let written = Serializers::new().encode("json", body).unwrap().body;
            let typed: Everything =
                Serializers::new().decode(Some("application/json"), None, &written).unwrap();
            assert_eq!(typed, everything());
        }
        "odd" => {
            assert_eq!(body.get("nan"), Some(&Value::Null));
            assert_eq!(body.get("infinity"), Some(&Value::Null));
            assert_eq!(body.get("big"), Some(&2_f64.powi(80).into()));
            assert_eq!(body.get("lone"), Some(&"\u{fffd}".into()));
        }
        "text" => is(&"é".into(), "text/plain"),
        "bytes" => is(&Bytes::from_static(b"\xff\0").into(), "application/data"),
        "raw" => is(&"é".into(), "application/data"),
        "msgpack" => {
            assert_eq!(content, "application/x-msgpack");
            assert_eq!(body.get("data"), Some(&Bytes::from_static(b"\xff\0").into()));
            let written = Serializers::new().encode("msgpack", body).unwrap().body;
            let typed: Packed = Serializers::new().decode(Some(&content), None, &written).unwrap();
            assert_eq!(typed, packed());
        }
        "zlib" | "bzip2" | "lzma" | "brotli" | "zstd" => {
            is(&long().into(), "application/json");
            let headers = properties.headers.as_ref().unwrap();
            let compression = headers.get("compression").unwrap();
            let named = compressions().into_iter().find(|(own, _)| *own == name).unwrap().1;
            assert_eq!(compression.as_str(), Some(named.content_type()));
        }
        "headers" => {
            let got: Vec<_> = properties.headers.as_ref().unwrap().iter().collect();
            let got: HashMap<_, _> =
                got.iter().map(|(name, header)| (name.to_string(), header.clone())).collect();
            for (name, header) in headers() {
                assert_eq!(got.get(name), Some(&header), "{name}");
            }
            assert_eq!(got.len(), headers().len());
        }
        "properties" => {
            let text = |value: &Option<amqp_client::ShortString>| value.as_ref().unwrap().to_string();
            assert_eq!((properties.delivery_mode, properties.priority), (Some(1), Some(7)));
            assert_eq!(text(&properties.expiration), "60000");
            let (id, to, kind) = (&properties.correlation_id, &properties.reply_to, &properties.kind);
            assert_eq!([text(id), text(to), text(kind), text(&properties.app_id)], ["c", "r", "k", "a"]);
            assert_eq!(
                (text(&properties.user_id), properties.timestamp),
                ("guest".into(), Some(1_700_000_000))
            );
        }
        "requeue" => is(&3.into(), "application/json"),
        "pickle" => {}
        other => panic!("{other}"),
    }
}

async fn kombu_and_we_read_each_other(url: &str, python: &Python) {
    let peers = Peers::connect(url).await;
    // kombu publishes without checking that there is a queue.
    let waiting =
        peers.transport.consumer(peers.queue("to_rust")).prefetch(1).start::<Value>().await.unwrap();
    waiting.close().await.unwrap();
    peers.publish().await;
    let output = python.run(SCRIPT, &[url, &peers.prefix]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kombu: {said}");
    peers.read().await;
    peers.read_by_priority().await;
    peers.transport.close().await.unwrap();
    let channel = amqp_client::connect(url).await.unwrap().open_channel().await.unwrap();
    assert!(channel.get(peers.queue("expired").name(), GetOptions::new()).await.unwrap().is_none());
    for name in ["to_python", "to_rust", "priority", "expired"] {
        let left = channel.delete_queue(peers.queue(name).name(), DeleteOptions::new()).await.unwrap();
        assert_eq!(left, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kombu_on_our_broker() {
    let Some(python) = Python::require("interop::kombu::kombu_on_our_broker") else { return };
    let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
    kombu_and_we_read_each_other(&format!("amqp://guest:guest@{}/", listener.local_addr()), &python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kombu_on_rabbitmq() {
    let Some(python) = Python::require("interop::kombu::kombu_on_rabbitmq") else { return };
    let Some(node) = Node::require("interop::kombu::kombu_on_rabbitmq") else { return };
    kombu_and_we_read_each_other(node.uri(), &python).await;
}
