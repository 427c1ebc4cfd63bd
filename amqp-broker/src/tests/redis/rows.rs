//! Each row of the tables in the documentation of `redis` that no other test here shows.

use std::time::Duration;

use amqp_codec::{
    Array, Frame, Method, Properties, ReplyCode, ShortString, Value,
    method::{basic, channel, connection, exchange, queue, tx},
};

use super::{
    server::RedisServer,
    support::{ask, broker, refusal},
};
use crate::tests::{
    peer::{Peer, short},
    steps::{bind, content, exchange, on, queue, queue_with, table},
};

#[tokio::test]
async fn what_is_not_served_is_refused_and_named() {
    let Some(server) = RedisServer::start("what_is_not_served_is_refused_and_named").await else { return };
    let broker = broker(&server);
    let mut peer = Peer::open(&broker).await;
    let internal = exchange::Declare { internal: true, ..exchange("x", "direct") };
    let alternate = exchange::Declare {
        arguments: table([("alternate-exchange", "y".into())]),
        ..exchange("x", "direct")
    };
    let between =
        exchange::Bind { destination: short("x"), source: short("amq.direct"), ..Default::default() };
    let reply_to =
        basic::Consume { queue: short("amq.rabbitmq.reply-to"), no_ack: true, ..Default::default() };
    let rows: [(Method, &str); 5] = [
        (tx::Select {}.into(), "transactions are not supported"),
        (exchange("x", "headers").into(), "exchanges of type headers are not supported"),
        (internal.into(), "exchange 'x' is internal"),
        (alternate.into(), "argument 'alternate-exchange' of exchange 'x'"),
        (between.into(), "bindings between exchanges are not supported"),
    ];
    for (method, named) in rows {
        let (code, text) = refusal(&mut peer, method).await;
        assert!(code == ReplyCode::NOT_IMPLEMENTED && text.contains(named), "{named}: {text}");
    }
    let arguments: [(&str, Value); 10] = [
        ("x-queue-type", "quorum".into()),
        ("x-queue-type", "stream".into()),
        ("x-max-length", 5.into()),
        ("x-max-length-bytes", 5.into()),
        ("x-overflow", "reject-publish".into()),
        ("x-single-active-consumer", true.into()),
        ("x-queue-mode", "lazy".into()),
        ("x-delivery-limit", 5.into()),
        ("x-dead-letter-exchange", "letters".into()),
        ("x-dead-letter-routing-key", "letters".into()),
    ];
    for (name, value) in arguments {
        let (code, text) = refusal(&mut peer, queue_with("q", [(name, value)])).await;
        assert!(code == ReplyCode::NOT_IMPLEMENTED && text.contains(name), "{name}: {text}");
    }
    let (code, text) = refusal(&mut peer, reply_to).await;
    assert!(code == ReplyCode::NOT_FOUND && text.contains("no queue 'amq.rabbitmq.reply-to'"), "{text}");
}

#[tokio::test]
async fn what_is_neither_durable_nor_persistent_is_as_durable_as_all_else() {
    let test = "what_is_neither_durable_nor_persistent_is_as_durable_as_all_else";
    let Some(server) = RedisServer::start(test).await else { return };
    let first = broker(&server);
    let mut peer = Peer::open(&first).await;
    peer.call(1, queue::Declare { queue: short("q"), durable: false, ..Default::default() }).await;
    peer.publish_with("", "q", Properties::default(), false, b"m").await;
    // When this is answered, the message is there.
    peer.call(1, queue::Declare { queue: short("q"), passive: true, ..Default::default() }).await;
    first.shutdown().await;
    let second = broker(&server);
    let mut peer = Peer::open(&second).await;
    assert_eq!(peer.bodies("q").await, ["m"]);
}

#[tokio::test]
async fn what_rabbitmq_does_not_serve_either_closes_the_connection() {
    let test = "what_rabbitmq_does_not_serve_either_closes_the_connection";
    let Some(server) = RedisServer::start(test).await else { return };
    let broker = broker(&server);
    let immediate = basic::Publish { immediate: true, ..Default::default() };
    let rows: [(Vec<Frame>, ReplyCode, &str); 7] = [
        (
            vec![on(basic::Qos { prefetch_size: 1, ..Default::default() })],
            ReplyCode::NOT_IMPLEMENTED,
            "prefetch_size!=0",
        ),
        (vec![on(basic::Recover { requeue: false })], ReplyCode::NOT_IMPLEMENTED, "requeue=false"),
        (vec![on(channel::Flow { active: false })], ReplyCode::NOT_IMPLEMENTED, "active=false"),
        (content(immediate, &Properties::default()).to_vec(), ReplyCode::NOT_IMPLEMENTED, "immediate=true"),
        (vec![on(exchange("x", "odd"))], ReplyCode::COMMAND_INVALID, "exchange type 'odd'"),
        (
            vec![on(queue::Declare { queue: no_text(), ..Default::default() })],
            ReplyCode::NOT_IMPLEMENTED,
            "a name that is not UTF-8",
        ),
        (
            vec![on(exchange::Declare { exchange: no_text(), ..exchange("", "direct") })],
            ReplyCode::NOT_IMPLEMENTED,
            "a name that is not UTF-8",
        ),
    ];
    for (frames, code, named) in rows {
        let mut peer = Peer::open(&broker).await;
        for frame in &frames {
            peer.frame(frame).await;
        }
        let close: connection::Close = peer.expect(0).await;
        let text = close.reply_text.to_text();
        assert!(ReplyCode(close.reply_code) == code && text.contains(named), "{named}: {text}");
    }
}

fn no_text() -> ShortString {
    ShortString::from_bytes("name", bytes::Bytes::from_static(b"\xff")).unwrap()
}

#[tokio::test]
async fn properties_that_are_no_text_are_refused() {
    let Some(server) = RedisServer::start("properties_that_are_no_text_are_refused").await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    let odd = Properties { kind: Some(no_text()), ..Default::default() };
    peer.publish_with("", "q", odd, false, b"x").await;
    let close: channel::Close = peer.expect(1).await;
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::PRECONDITION_FAILED, "{}", close.reply_text);
}

#[tokio::test]
async fn arguments_without_effect_are_accepted() {
    let Some(server) = RedisServer::start("arguments_without_effect_are_accepted").await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    for (name, value) in [("x-max-priority", 10.into()), ("x-queue-type", "classic".into())] {
        peer.call(1, queue_with(name, [(name, value)])).await;
    }
    peer.call(1, exchange("x", "direct")).await;
    peer.call(
        1,
        queue::Bind { arguments: table([("x-match", "all".into())]), ..bind("x-max-priority", "x") },
    )
    .await;
    peer.publish("x", "", "routed").await;
    assert_eq!(peer.bodies("x-max-priority").await, ["routed"]);
}

#[tokio::test]
async fn copies_are_for_nobody() {
    let Some(server) = RedisServer::start("copies_are_for_nobody").await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    for name in ["to", "cc", "bcc"] {
        peer.declare(name).await;
    }
    let list = |name: &str| {
        let mut names = Array::new();
        names.push(name).unwrap();
        Value::Array(names)
    };
    let headers = Some(table([("CC", list("cc")), ("BCC", list("bcc"))]));
    let properties = Properties { headers, ..Default::default() };
    peer.publish_with("", "to", properties, false, b"one").await;
    peer.send(1, basic::Get { queue: short("to"), no_ack: true, ..Default::default() }).await;
    let came = peer.expect_content::<basic::GetOk>().await;
    let headers = came.header.properties.decode().unwrap().headers.unwrap();
    assert_eq!((headers.get("CC"), headers.get("BCC")), (Some(list("cc")), Some(list("bcc"))));
    for name in ["cc", "bcc"] {
        assert!(peer.bodies(name).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn expired_messages_count_until_they_would_be_delivered() {
    let test = "expired_messages_count_until_they_would_be_delivered";
    let Some(server) = RedisServer::start(test).await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    peer.call(1, queue_with("brief", [("x-message-ttl", 1.into())])).await;
    peer.call(1, queue_with("long", [("x-message-ttl", 600_000.into())])).await;
    peer.declare("q").await;
    let expiring = Properties { expiration: Some(ShortString::from_static("1")), ..Default::default() };
    let lasting = Properties { expiration: Some(ShortString::from_static("600000")), ..Default::default() };
    // The shorter time counts.
    peer.publish_with("", "brief", lasting, false, b"gone").await;
    peer.publish_with("", "long", expiring.clone(), false, b"gone").await;
    peer.publish_with("", "q", expiring, false, b"gone").await;
    peer.publish("", "q", "stays").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    for (name, count, left) in [("brief", 1, &[][..]), ("long", 1, &[]), ("q", 2, &["stays"])] {
        let declared = peer.call(1, queue::Declare { passive: true, ..queue(name) }).await;
        assert_eq!(declared.message_count, count, "{name}");
        assert_eq!(peer.bodies(name).await, left, "{name}");
    }
}

#[tokio::test]
async fn an_exclusive_queue_goes_with_its_connection_and_an_auto_delete_queue_stays() {
    let test = "an_exclusive_queue_goes_with_its_connection_and_an_auto_delete_queue_stays";
    let Some(server) = RedisServer::start(test).await else { return };
    let broker = broker(&server);
    let (mut owner, mut other) = (Peer::open(&broker).await, Peer::open(&broker).await);
    owner.call(1, queue::Declare { exclusive: true, ..queue("own") }).await;
    owner.call(1, queue::Declare { exclusive: true, auto_delete: true, ..queue("passing") }).await;
    owner.call(1, queue::Declare { auto_delete: true, ..queue("shared") }).await;
    for name in ["own", "passing", "shared"] {
        owner.consume(name, name).await;
        owner.call(1, basic::Cancel { consumer_tag: short(name), no_wait: false }).await;
    }
    let (code, _) = refusal(&mut other, queue::Declare { passive: true, ..queue("own") }).await;
    assert_eq!(code, ReplyCode::RESOURCE_LOCKED);
    let passive = |name| queue::Declare { passive: true, ..queue(name) };
    assert_eq!(refusal(&mut other, passive("passing")).await.0, ReplyCode::NOT_FOUND);
    other.call(1, passive("shared")).await;
    let plain = server.connect().await;
    assert_eq!(ask::<Vec<String>>(&plain, &["SMEMBERS", "_amqp.exclusive"]).await, ["own"]);
    drop(owner);
    while ask::<u32>(&plain, &["EXISTS", "_amqp.exclusive"]).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(refusal(&mut other, passive("own")).await.0, ReplyCode::NOT_FOUND);
    assert_eq!(ask::<u32>(&plain, &["EXISTS", "_amqp.queue.shared"]).await, 1);
}

/// RabbitMQ's page on consumer priorities: the others get messages while those of a higher priority
/// may get none.
#[tokio::test]
async fn consumers_of_a_higher_priority_come_first() {
    let Some(server) = RedisServer::start("consumers_of_a_higher_priority_come_first").await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    peer.declare("q").await;
    peer.call(1, basic::Qos { prefetch_count: 2, ..Default::default() }).await;
    for (tag, priority) in [("low", -1), ("high", 5), ("usual", 0)] {
        let arguments = table([("x-priority", priority.into())]);
        let (queue, consumer_tag) = (short("q"), short(tag));
        peer.call(1, basic::Consume { queue, consumer_tag, arguments, ..Default::default() }).await;
    }
    let mut tags = Vec::new();
    for number in 0..6 {
        peer.publish("", "q", &number.to_string()).await;
        let came = peer.expect_content::<basic::Deliver>().await;
        tags.push(came.method.consumer_tag.as_str().unwrap().to_owned());
    }
    assert_eq!(tags, ["high", "high", "usual", "usual", "low", "low"]);
}
