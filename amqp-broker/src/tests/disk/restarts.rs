//! What continues after a restart, and the order of answers that wait for the disk.

use amqp_codec::{
    Frame, Table, Value,
    method::{basic, channel, connection, queue},
};
use tempfile::TempDir;

use super::durability::{confirming, copy, declare, open, persistent, publish, shut_down};
use crate::{
    Broker, Policy, PolicyTarget, RabbitMq,
    tests::peer::{Peer, short},
};

fn arguments(entries: &[(&str, Value)]) -> Table {
    let mut arguments = Table::new();
    for (name, value) in entries {
        arguments.insert(name, value.clone()).unwrap();
    }
    arguments
}

fn text(text: &'static str) -> Value {
    Value::LongString(text.into())
}

/// The folder after an orderly end, and a copy as a kill would have left it.
async fn both_ends(folder: TempDir, broker: crate::Broker, peer: Peer) -> [TempDir; 2] {
    broker.inner.host("/").unwrap().flushed().await;
    let copied = copy(folder.path());
    shut_down(broker, peer).await;
    [copied, folder]
}

#[tokio::test]
async fn a_stream_that_was_emptied_goes_on_with_its_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    let arguments = arguments(&[("x-queue-type", text("stream")), ("x-max-age", text("1h"))]);
    let stream = queue::Declare { queue: short("s"), durable: true, arguments, ..Default::default() };
    peer.call(1, stream.clone()).await;
    for body in ["zero", "one", "two"] {
        publish(&mut peer, "", "s", body).await;
    }
    let host = broker.inner.host("/").unwrap();
    host.with(|now, shared| shared.advance(now + 7_200_000));
    assert_eq!(broker.queue("/", "s").unwrap().ready, 0);
    for folder in both_ends(folder, broker, peer).await {
        let broker = open(folder.path());
        let host = broker.inner.host("/").unwrap();
        assert_eq!(host.with(|_, shared| shared.vhost.next_offset(&short("s"))), Some(3));
    }
}

#[tokio::test]
async fn how_often_a_message_returned_to_a_quorum_queue_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    let arguments = arguments(&[("x-queue-type", text("quorum")), ("x-delivery-limit", Value::I32(3))]);
    let quorum = queue::Declare { queue: short("q"), durable: true, arguments, ..Default::default() };
    peer.call(1, quorum).await;
    let large = "x".repeat(100_000);
    publish(&mut peer, "", "q", "small").await;
    publish(&mut peer, "", "q", &large).await;
    for (times, body) in [(1, "small"), (2, &large)] {
        for _ in 0..times {
            peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
            let mut came = peer.expect_content::<basic::GetOk>().await;
            if came.body != body.as_bytes() {
                // The message before it, which has returned already, stays unacknowledged
                // meanwhile.
                peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
                came = peer.expect_content::<basic::GetOk>().await;
            }
            assert_eq!(came.body, body.as_bytes());
            let tag = came.method.delivery_tag;
            peer.send(1, basic::Nack { delivery_tag: tag, requeue: true, ..Default::default() }).await;
        }
    }
    peer.settle_down().await;
    // The end of the channel returns the small message once more, and behind the large one.
    let expected = [[("small", 1), (&large, 2)], [(&*large, 2), ("small", 2)]];
    for (folder, expected) in both_ends(folder, broker, peer).await.into_iter().zip(expected) {
        let broker = open(folder.path());
        let mut peer = confirming(&broker).await;
        for (body, count) in expected {
            peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
            let came = peer.expect_content::<basic::GetOk>().await;
            assert_eq!(came.body, body.as_bytes());
            let headers = came.header.properties.decode().unwrap().headers.unwrap();
            assert_eq!(headers.get("x-delivery-count").and_then(|count| count.as_i64()), Some(count));
            peer.send(1, basic::Ack { delivery_tag: came.method.delivery_tag, ..Default::default() }).await;
        }
        shut_down(broker, peer).await;
        assert_eq!(open(folder.path()).queue("/", "q").unwrap().ready, 0, "acknowledged");
    }
}

/// The names of methods and contents as they arrive, until a method of this name on this channel.
async fn order_until(peer: &mut Peer, number: u16, last: &str) -> Vec<&'static str> {
    let mut order = Vec::new();
    loop {
        let Some(frame) = peer.next().await else { panic!("the end, after {order:?}") };
        if let Frame::Method(at, method) = frame {
            let name = method.id().name().unwrap();
            order.push(name);
            if (at, name) == (number, last) {
                return order;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_the_disk_is_not_overtaken_by_a_later_one_of_its_channel() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = Peer::open(&broker).await;
    declare(&mut peer, "full").await;
    peer.publish("", "full", "one").await;
    peer.publish("", "full", "two").await;
    let durable = |name| queue::Declare { queue: short(name), durable: true, ..Default::default() };
    let host = broker.inner.host("/").unwrap();
    host.pause_disk(true);
    peer.send(1, durable("a")).await;
    peer.send(1, basic::Get { queue: short("full"), no_ack: true, ..Default::default() }).await;
    peer.send(1, durable("b")).await;
    let consume = basic::Consume { queue: short("full"), no_ack: true, ..Default::default() };
    peer.send(1, consume).await;
    peer.send(1, durable("c")).await;
    peer.send(1, channel::Close::default()).await;
    // The broker has had time to process all of it and has not, because the first answer waits.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(broker.queue("/", "full").unwrap().ready, 2);
    host.pause_disk(false);
    let order = order_until(&mut peer, 1, "channel.close-ok").await;
    let expected = [
        "queue.declare-ok",
        "basic.get-ok",
        "queue.declare-ok",
        "basic.consume-ok",
        "basic.deliver",
        "queue.declare-ok",
        "channel.close-ok",
    ];
    assert_eq!(order, expected);
}

#[tokio::test]
async fn a_connection_is_not_closed_before_its_answers_have_come_unless_the_disk_fails() {
    for fails in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let broker = open(folder.path());
        let mut peer = Peer::open(&broker).await;
        let host = broker.inner.host("/").unwrap();
        host.pause_disk(true);
        peer.send(1, queue::Declare { queue: short("q"), durable: true, ..Default::default() }).await;
        peer.send(0, connection::Close::default()).await;
        if fails {
            host.fail_disk();
        }
        host.pause_disk(false);
        if fails {
            let close = peer.expect::<connection::Close>(0).await;
            // The client's own close crosses it.
            assert_eq!(close.reply_code, 541);
            peer.expect::<connection::CloseOk>(0).await;
            peer.send(0, connection::CloseOk {}).await;
            assert_eq!(peer.next().await, None);
        } else {
            assert_eq!(
                order_until(&mut peer, 0, "connection.close-ok").await,
                ["queue.declare-ok", "connection.close-ok"]
            );
        }
    }
}

#[tokio::test]
async fn consumers_are_answered_before_their_deliveries_whatever_waits_to_be_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    let host = broker.inner.host("/").unwrap();
    host.pause_disk(true);
    peer.publish_with("", "q", persistent(), false, b"unconfirmed").await;
    peer.send(1, basic::Consume { queue: short("q"), no_ack: true, ..Default::default() }).await;
    assert_eq!(order_until(&mut peer, 1, "basic.deliver").await, ["basic.consume-ok", "basic.deliver"]);
    host.pause_disk(false);
    assert_eq!(order_until(&mut peer, 1, "basic.ack").await, ["basic.ack"]);
}

/// The bodies of a queue in the order of their delivery. They are acknowledged.
async fn drained(peer: &mut Peer, queue: &str, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        peer.send(1, basic::Get { queue: short(queue), ..Default::default() }).await;
        let came = peer.expect_content::<basic::GetOk>().await;
        peer.send(1, basic::Ack { delivery_tag: came.method.delivery_tag, ..Default::default() }).await;
        bodies.push(String::from_utf8(came.body.to_vec()).unwrap());
    }
    bodies
}

/// That RabbitMQ has the same order is tested in `tests/suite/broker/returned_order.rs`.
#[tokio::test]
async fn what_returned_to_a_quorum_queue_keeps_its_order_whether_it_goes_ahead_or_last() {
    let large = "x".repeat(100_000);
    for (limit, expected) in
        [(Some(9), [&*large, "one", "three", "four"]), (None, ["three", "four", &large, "one"])]
    {
        let folder = tempfile::tempdir().unwrap();
        let broker = open(folder.path());
        let mut peer = confirming(&broker).await;
        let mut entries = vec![("x-queue-type", text("quorum"))];
        entries.extend(limit.map(|limit| ("x-delivery-limit", Value::I32(limit))));
        let arguments = arguments(&entries);
        peer.call(1, queue::Declare { queue: short("q"), durable: true, arguments, ..Default::default() })
            .await;
        for body in ["one", &large, "three", "four"] {
            publish(&mut peer, "", "q", body).await;
        }
        for tag in 1..=3 {
            peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
            assert_eq!(peer.expect_content::<basic::GetOk>().await.method.delivery_tag, tag);
        }
        // The third is held until the end.
        for delivery_tag in [2, 1] {
            peer.send(1, basic::Nack { delivery_tag, requeue: true, ..Default::default() }).await;
        }
        peer.settle_down().await;
        for folder in both_ends(folder, broker, peer).await {
            // Messages that are not used in one life keep their order in the next.
            let broker = open(folder.path());
            let peer = confirming(&broker).await;
            shut_down(broker, peer).await;
            let broker = open(folder.path());
            let mut peer = confirming(&broker).await;
            assert_eq!(drained(&mut peer, "q", 4).await, expected, "limit {limit:?}");
            shut_down(broker, peer).await;
            assert_eq!(open(folder.path()).queue("/", "q").unwrap().ready, 0, "acknowledged");
        }
    }
}

#[tokio::test]
async fn policies_are_kept_and_apply_to_what_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    let limited = arguments(&[("max-length", Value::I32(1)), ("overflow", text("reject-publish"))]);
    let policy = Policy::new("p", "^q$", limited).unwrap().apply_to(PolicyTarget::Queues).priority(-7);
    let bounded = Policy::for_operators("p", "", arguments(&[("max-length", Value::I32(9))])).unwrap();
    let unrouted = Policy::new("ae", "^amq", arguments(&[("alternate-exchange", text("amq.fanout"))]));
    let cleared = Policy::new("cleared", "", arguments(&[("max-length", Value::I32(0))])).unwrap();
    for policy in [policy, bounded, unrouted.unwrap(), cleared] {
        broker.set_policy("/", policy).unwrap();
    }
    assert!(broker.clear_policy("/", "cleared"));
    let policies = broker.policies("/");
    assert_eq!(policies.len(), 3);
    publish(&mut peer, "", "q", "kept").await;
    for folder in both_ends(folder, broker, peer).await {
        let broker = open(folder.path());
        assert_eq!(broker.policies("/"), policies);
        let queue = broker.queue("/", "q").unwrap();
        assert_eq!((queue.policy.as_deref(), queue.operator_policy.as_deref()), (Some("p"), Some("p")));
        let mut peer = confirming(&broker).await;
        let bind = queue::Bind { queue: short("q"), exchange: short("amq.fanout"), ..Default::default() };
        peer.call(1, bind).await;
        // By the alternate exchange to the queue, which is full.
        peer.publish("amq.direct", "nobody", "refused").await;
        peer.expect::<basic::Nack>(1).await;
    }
}

#[tokio::test]
async fn a_policy_of_another_version_is_kept_without_effect_and_a_configured_one_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let policy = |name: &str, key: &str, value: i32| {
        Policy::new(name, "", arguments(&[(key, Value::I32(value))])).unwrap()
    };
    let like = |version| {
        let builder = Broker::builder().like(version).policy("/", policy("configured", "max-length", 5));
        builder.data_dir(folder.path()).build().unwrap()
    };
    let names =
        |broker: &Broker| -> Vec<_> { broker.policies("/").into_iter().map(|policy| policy.name).collect() };
    let broker = like(RabbitMq::V4_0);
    assert_eq!(names(&broker), ["configured"]);
    broker.set_policy("/", policy("configured", "max-length", 1)).unwrap();
    broker.set_policy("/", policy("unlimited", "delivery-limit", -1)).unwrap();
    broker.shutdown().await;
    let broker = like(RabbitMq::V3_10);
    assert_eq!(names(&broker), ["configured"]);
    assert_eq!(broker.policies("/")[0].definition, arguments(&[("max-length", Value::I32(5))]));
    broker.shutdown().await;
    let broker = like(RabbitMq::V4_0);
    assert_eq!(names(&broker), ["configured", "unlimited"]);
    broker.shutdown().await;
}
