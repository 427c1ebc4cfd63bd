//! Comparison with RabbitMQ itself, at the host and port of `AMQP_TEST_RABBITMQ_URI`, if that is
//! set.
//!
//! Two differences are intended: malformed properties are 502 SYNTAX_ERROR here and 541
//! INTERNAL_ERROR there; flags of unknown properties are refused here and passed on there, where
//! they break the receiver.

use std::sync::Arc;

use amqp_codec::{
    Array, ContentHeader, EncodedProperties, Frame, Method, Properties, Value,
    method::{access, basic, channel, confirm, connection, exchange as exchanges, queue as queues, tx},
};
use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::errors::catalogue;
use crate::{
    broker::Broker,
    core::rabbitmq::version::RabbitMq,
    tests::{
        both::{Judge, rabbitmq},
        peer::Peer,
        steps::{
            bind, blame, consume, content, exchange, name, on, publish, queue, queue_with, quorum, script,
            table, unbind,
        },
    },
};

/// The tests declare the same names, so they run one at a time.
async fn turn() -> OwnedMutexGuard<()> {
    static TURN: std::sync::OnceLock<Arc<Mutex<()>>> = std::sync::OnceLock::new();
    Arc::clone(TURN.get_or_init(Arc::default)).lock_owned().await
}

/// Further violations, for which RabbitMQ's answer is taken as right.
fn further() -> Vec<(&'static str, Vec<Frame>)> {
    let invalid = |argument: &str, value: Value| script([on(queue_with("qb", [(argument, value)]))]);
    let exp =
        |t: &str| publish("", "q", &Properties { expiration: Some(name(t)), ..Default::default() }).to_vec();
    let mut nums = Array::new();
    nums.push(5).unwrap();
    let hdr = |k: &str, v: Value| {
        publish("", "q", &Properties { headers: Some(table([(k, v)])), ..Default::default() }).to_vec()
    };
    vec![
        ("dlx type", invalid("x-dead-letter-exchange", 5.into())),
        ("dlk type", invalid("x-dead-letter-routing-key", 5.into())),
        (
            "dlk type w dlx",
            script([on(queue_with(
                "qb",
                [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", 5.into())],
            ))]),
        ),
        ("sac type", invalid("x-single-active-consumer", 5.into())),
        ("mode", invalid("x-queue-mode", "bogus".into())),
        ("mode type", invalid("x-queue-mode", 5.into())),
        ("expires big", invalid("x-expires", Value::I64(4_294_967_296))),
        ("ttl big", invalid("x-message-ttl", Value::I64(4_294_967_296))),
        ("ttl max", invalid("x-message-ttl", Value::I64(4_294_967_295))),
        ("overflow type", invalid("x-overflow", 5.into())),
        ("qtype type", invalid("x-queue-type", 5.into())),
        ("maxlen type", invalid("x-max-length", "5".into())),
        ("maxprio neg", invalid("x-max-priority", (-1).into())),
        ("maxprio type", invalid("x-max-priority", "1".into())),
        ("dlstrategy", invalid("x-dead-letter-strategy", "bogus".into())),
        ("dlstrategy ok", invalid("x-dead-letter-strategy", "at-most-once".into())),
        ("delivery limit classic", invalid("x-delivery-limit", 5.into())),
        ("max-age classic", invalid("x-max-age", "5s".into())),
        ("inmem", invalid("x-max-in-memory-length", 5.into())),
        ("leader locator", invalid("x-queue-leader-locator", "bogus".into())),
        ("quorum dlimit", script([on(quorum([("x-delivery-limit", 5.into())]))])),
        ("quorum mode", script([on(quorum([("x-queue-mode", "lazy".into())]))])),
        ("quorum overflow dlx", script([on(quorum([("x-overflow", "reject-publish-dlx".into())]))])),
        ("quorum autodelete", script([on(queues::Declare { auto_delete: true, ..quorum([]) })])),
        ("quorum ttl", script([on(quorum([("x-message-ttl", 5.into())]))])),
        ("quorum sac", script([on(quorum([("x-single-active-consumer", true.into())]))])),
        ("reject-publish-dlx", invalid("x-overflow", "reject-publish-dlx".into())),
        ("both missing", script([on(bind("nope", "nopex"))])),
        (
            "e2e both missing",
            script([on(exchanges::Bind {
                destination: name("n1"),
                source: name("n2"),
                ..Default::default()
            })]),
        ),
        (
            "e2e default dest",
            script([on(exchanges::Bind {
                destination: name(""),
                source: name("amq.direct"),
                ..Default::default()
            })]),
        ),
        (
            "e2e unbind default",
            script([on(exchanges::Unbind {
                destination: name(""),
                source: name("amq.direct"),
                ..Default::default()
            })]),
        ),
        (
            "e2e unbind missing dest",
            script([on(exchanges::Unbind {
                destination: name("nope"),
                source: name("amq.direct"),
                ..Default::default()
            })]),
        ),
        ("unbind missing queue", script([on(unbind("nope", "amq.direct"))])),
        (
            "xmatch type",
            script([
                on(queue("q")),
                on(queues::Bind { arguments: table([("x-match", 5.into())]), ..bind("q", "amq.headers") }),
            ]),
        ),
        ("declare-ok", script([on(queues::DeclareOk::default())])),
        ("deliver", script([on(basic::CancelOk::default())])),
        ("flow-ok", script([on(channel::FlowOk { active: true })])),
        ("flow true", script([on(channel::Flow { active: true })])),
        ("chan0 queue", script([Frame::Method(0, queue("q").into())])),
        ("chan0 chanopen", script([Frame::Method(0, channel::Open::default().into())])),
        ("start again", script([Frame::Method(0, connection::StartOk::default().into())])),
        ("conn method on ch1", script([on(connection::Blocked::default())])),
        (
            "class",
            script([
                on(basic::Publish::default()),
                Frame::Header(
                    1,
                    ContentHeader { class_id: 50, body_size: 0, properties: EncodedProperties::NONE },
                ),
            ]),
        ),
        ("cancel unknown", script([on(basic::Cancel { consumer_tag: name("x"), no_wait: false })])),
        ("expiration big", exp("4294967296")),
        ("expiration max", exp("4294967295")),
        ("expiration empty", exp("")),
        ("expiration frac", exp("5.5")),
        ("expiration junk", exp("5x")),
        ("expiration plus", exp("+5")),
        ("BCC not array", hdr("BCC", 5.into())),
        ("CC ints", hdr("CC", Value::Array(nums))),
        ("nack 0", script([on(basic::Nack { delivery_tag: 0, multiple: false, requeue: true })])),
        ("nack 0 multi", script([on(basic::Nack { delivery_tag: 0, multiple: true, requeue: true })])),
        ("access", script([on(access::Request::default())])),
        ("recover async false", script([on(basic::RecoverAsync { requeue: false })])),
        (
            "tx publish missing",
            [script([on(tx::Select {})]), publish("nope", "", &Properties::default()).to_vec()].concat(),
        ),
        (
            "tx commit immediate",
            [
                script([on(tx::Select {})]),
                content(basic::Publish { immediate: true, ..Default::default() }, &Properties::default())
                    .to_vec(),
            ]
            .concat(),
        ),
        ("tx twice", script([on(tx::Select {}), on(tx::Select {})])),
        ("confirm twice", script([on(confirm::Select::default()), on(confirm::Select::default())])),
        ("passive default", script([on(exchanges::Declare { passive: true, ..exchange("", "") })])),
        ("unknown and reserved", script([on(exchange("amq.mine", "bogus"))])),
        (
            "ae type",
            script([on(exchanges::Declare {
                arguments: table([("alternate-exchange", 5.into())]),
                ..exchange("e1", "direct")
            })]),
        ),
        ("publish default unknown key", publish("", "nope", &Properties::default()).to_vec()),
        (
            "consume excl after other",
            script([
                on(queue("q2")),
                on(consume("q2", "a")),
                on(basic::Consume { exclusive: true, ..consume("q2", "b") }),
            ]),
        ),
        (
            "consume dup other queue",
            script([on(queue("q2")), on(queue("q3")), on(consume("q2", "a")), on(consume("q3", "a"))]),
        ),
        (
            "consume dup missing queue",
            script([on(queue("q2")), on(consume("q2", "a")), on(consume("nope", "a"))]),
        ),
        ("channel too high", script([Frame::Method(2048, channel::Open::default().into())])),
        ("heartbeat ch1", script([Frame::Heartbeat(1)])),
        ("body ch0", script([Frame::Body(0, Bytes::from_static(b"x"))])),
        ("body ch7", script([Frame::Body(7, Bytes::from_static(b"x"))])),
        ("close-ok ch1", script([on(channel::CloseOk {})])),
        ("close-ok ch7", script([Frame::Method(7, channel::CloseOk {}.into())])),
        ("close ch7", script([Frame::Method(7, channel::Close::default().into())])),
    ]
}

/// Violations of the rules that each type of queue has for its arguments and consumers.
fn of_types() -> Vec<(&'static str, Vec<Frame>)> {
    let stream = |argument: &str, value: Value| {
        let declare = queue_with("qb", [("x-queue-type", "stream".into()), (argument, value)]);
        script([on(queues::Declare { durable: true, ..declare })])
    };
    let of_quorum = |argument: &str, value: Value| script([on(quorum([(argument, value)]))]);
    let classic = |argument: &str, value: Value| script([on(queue_with("qb", [(argument, value)]))]);
    let consuming = |declare: queues::Declare, argument: &str, value: Value| {
        let arguments = table([(argument, value)]);
        let qos = basic::Qos { prefetch_count: 1, ..Default::default() };
        script([on(declare), on(qos), on(basic::Consume { arguments, ..consume("qb", "t") })])
    };
    let twice = |first: queues::Declare, second: queues::Declare| script([on(first), on(second)]);
    let own = || queues::Declare { exclusive: true, durable: true, ..queue("qb") };
    vec![
        ("quorum without name", script([on(queues::Declare { queue: name(""), ..quorum([]) })])),
        (
            "quorum of many faults",
            script([on(queues::Declare { exclusive: true, auto_delete: true, ..quorum([]) })]),
        ),
        ("quorum strategy", of_quorum("x-dead-letter-strategy", "bogus".into())),
        ("quorum strategy ok", of_quorum("x-dead-letter-strategy", "at-least-once".into())),
        ("quorum group", of_quorum("x-quorum-initial-group-size", 0.into())),
        ("quorum locator", of_quorum("x-queue-leader-locator", "bogus".into())),
        ("quorum in memory", of_quorum("x-max-in-memory-bytes", (-1).into())),
        ("quorum version", of_quorum("x-queue-version", 2.into())),
        ("quorum limit as text", of_quorum("x-delivery-limit", "5".into())),
        ("quorum offset", consuming(quorum([]), "x-stream-offset", "first".into())),
        ("quorum failover", consuming(quorum([]), "x-cancel-on-ha-failover", true.into())),
        ("quorum, then classic", twice(quorum([]), queues::Declare { durable: true, ..queue("qb") })),
        (
            "classic, then so called",
            twice(queue("qb"), queue_with("qb", [("x-queue-type", "classic".into())])),
        ),
        ("classic version", classic("x-queue-version", 3.into())),
        ("classic segment", classic("x-stream-max-segment-size-bytes", 5.into())),
        ("classic group", classic("x-quorum-initial-group-size", 5.into())),
        ("classic offset", consuming(queue("qb"), "x-stream-offset", "first".into())),
        ("classic failover", consuming(queue("qb"), "x-cancel-on-ha-failover", 1.into())),
        ("classic priority", consuming(queue("qb"), "x-priority", "high".into())),
        ("own and durable, twice", twice(own(), own())),
        ("own and durable, then not", twice(own(), queues::Declare { durable: false, ..own() })),
        ("stream expires", stream("x-expires", 5.into())),
        ("stream length", stream("x-max-length", 5.into())),
        ("stream dead letters", stream("x-dead-letter-exchange", "".into())),
        ("stream age of nothing", stream("x-max-age", "0s".into())),
        ("stream age of what", stream("x-max-age", "5x".into())),
        ("stream age as number", stream("x-max-age", 5.into())),
        ("stream age that breaks", stream("x-max-age", "bogus".into())),
        ("stream bytes", stream("x-max-length-bytes", (-1).into())),
        ("stream cluster", stream("x-initial-cluster-size", 0.into())),
        ("stream segment", stream("x-stream-max-segment-size-bytes", Value::I64(3_000_000_001))),
        ("stream not durable", script([on(queue_with("qb", [("x-queue-type", "stream".into())]))])),
        (
            "reply-to, passive",
            script([on(queues::Declare { passive: true, ..queue("amq.rabbitmq.reply-to.x") })]),
        ),
        ("reply-to, declared", script([on(queue("amq.rabbitmq.reply-to"))])),
        (
            "reply-to, deleted",
            script([on(queues::Delete { queue: name("amq.rabbitmq.reply-to"), ..Default::default() })]),
        ),
    ]
}

#[tokio::test]
async fn rabbitmq_answers_the_catalogue_with_the_same_words() {
    let Some(judge) = rabbitmq().await else { return };
    let address = judge.address.as_str();
    let _turn = turn().await;
    let mut differences = Vec::new();
    for (group, cases) in catalogue() {
        // The limit of 1000 bytes exists only here.
        for (case, frames, closed, text) in
            cases.into_iter().filter(|(case, ..)| !case.contains("over the limit"))
        {
            clear_up(address).await;
            let mut peer = Peer::silent_at(address).await;
            peer.log_in("/", 131_072).await;
            let theirs = blame(peer, &frames).await;
            let broker = Broker::builder().like(judge.version).build();
            let ours = blame(Peer::greet(&broker, "/", 131_072).await, &frames).await;
            let is_told = judge.version != RabbitMq::V3_10
                || (closed, text.replace("vhost 'sem'", "vhost '/'")) == (theirs.0, theirs.1.clone());
            if ours != theirs || !is_told {
                differences.push(format!("{group}: {case}:\n  ours   {ours:?}\n  theirs {theirs:?}"));
            }
        }
    }
    clear_up(address).await;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Deletes a queue. One that is exclusive may outlive its connection for a while.
async fn delete(peer: &mut Peer, queue: &str) {
    for _ in 0..1000 {
        peer.send(1, queues::Delete { queue: name(queue), ..Default::default() }).await;
        match peer.next().await {
            Some(Frame::Method(1, Method::Queue(queues::Method::DeleteOk(_)))) => return,
            Some(Frame::Method(1, Method::Channel(channel::Method::Close(close)))) => {
                assert_eq!(close.reply_code, 405, "{close:?}");
                peer.send(1, channel::CloseOk {}).await;
                peer.call(1, channel::Open::default()).await;
            }
            other => panic!("neither deleted nor refused: {other:?}"),
        }
    }
    panic!("'{queue}' stays locked");
}

/// Deletes what the tests declare.
async fn clear_up(address: &str) {
    let mut peer = Peer::silent_at(address).await;
    peer.log_in("/", 131_072).await;
    peer.call(1, channel::Open::default()).await;
    let long = "q".repeat(255);
    for text in ["q", "q2", "q3", "qb", "qd", "qt", &long] {
        delete(&mut peer, text).await;
    }
    for text in ["e1", "e2", "ei"] {
        peer.call(1, exchanges::Delete { exchange: name(text), ..Default::default() }).await;
    }
}

#[tokio::test]
async fn rabbitmq_answers_further_violations_as_this_broker_does() {
    let judge = rabbitmq().await;
    let version = judge.as_ref().map_or_else(RabbitMq::default, |judge| judge.version);
    let _turn = turn().await;
    let mut differences = Vec::new();
    for (case, frames) in further().into_iter().chain(of_types()) {
        let broker = Broker::builder().like(version).build();
        let ours = blame(Peer::greet(&broker, "/", 131_072).await, &frames).await;
        let Some(Judge { address, .. }) = &judge else { continue };
        clear_up(address).await;
        let mut peer = Peer::silent_at(address).await;
        peer.log_in("/", 131_072).await;
        let theirs = blame(peer, &frames).await;
        if ours != theirs {
            differences.push(format!("{case}:\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    if let Some(Judge { address, .. }) = &judge {
        clear_up(address).await;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
