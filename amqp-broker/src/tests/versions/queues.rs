//! Queues of RabbitMQ 4.3 do this otherwise, as its notes of 4.3.0 and 4.3.1, "RabbitMQ 4.3
//! Highlights", and the guide to quorum queues tell.

use std::time::Duration;

use amqp_codec::{
    Array, Frame, Method, Properties, Value,
    method::{basic, channel, connection, queue, tx},
};

use crate::{
    broker::Broker,
    core::rabbitmq::{
        access::{Permissions, topics::TopicPermissions},
        version::RabbitMq,
    },
    tests::{
        both::{headers, table},
        peer::{Peer, short, start_ok},
        steps::{Closed, name, on, outcome, queue as transient, quorum},
    },
};

fn like(version: RabbitMq) -> Broker {
    Broker::builder().like(version).build()
}

/// Each version closes what is said here for a script of frames.
async fn closes(frames: &[Frame], old: (Closed, &str), new: (Closed, &str)) {
    for version in RabbitMq::ALL {
        let peer = Peer::greet(&like(version), "/", 131_072).await;
        let (closed, words) = outcome(peer, frames).await;
        let expected = if version == RabbitMq::V4_3 { new } else { old };
        assert_eq!((closed, words.as_str()), expected, "{version}");
    }
}

const NOTHING: (Closed, &str) = (Closed::Nothing, "");

#[tokio::test]
async fn a_queue_that_is_neither_durable_nor_exclusive_is_refused_by_4_3() {
    const TEXT: &str = "541 INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\n\
                        By default, this feature is not permitted anymore.\n\
                        The feature will be removed from a future major RabbitMQ version, regardless of the \
                        configuration; actual version to be determined.\nTo...";
    closes(&[on(transient("q"))], NOTHING, (Closed::Connection, TEXT)).await;
    // The check comes before those of the queue's type.
    let quorum = queue::Declare { durable: false, ..quorum([]) };
    let property = "406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 'qb' in vhost '/'";
    closes(&[on(quorum)], (Closed::Channel, property), (Closed::Connection, TEXT)).await;
    for allowed in [
        queue::Declare { durable: true, ..transient("q") },
        queue::Declare { exclusive: true, ..transient("q") },
        queue::Declare { durable: true, auto_delete: true, ..transient("q") },
    ] {
        closes(&[on(allowed)], NOTHING, NOTHING).await;
    }
}

#[tokio::test]
async fn the_first_version_of_classic_queues_is_refused_by_4_3_and_no_mode_is() {
    let with = |argument: &str, value: Value| {
        on(queue::Declare { durable: true, arguments: table([(argument, value)]), ..transient("q") })
    };
    let text = "406 PRECONDITION_FAILED - invalid arg 'x-queue-version' for queue 'q' in vhost '/': \
                \"unsupported queue version '1'\"";
    closes(&[with("x-queue-version", 1.into())], NOTHING, (Closed::Channel, text)).await;
    closes(&[with("x-queue-version", 2.into())], NOTHING, NOTHING).await;
    closes(&[with("x-queue-mode", "lazy".into())], NOTHING, NOTHING).await;
}

#[tokio::test]
async fn a_shared_prefetch_is_each_consumers_own_in_4_3() {
    for version in RabbitMq::ALL {
        let mut peer = Peer::open(&like(version)).await;
        peer.fresh("q", []).await;
        peer.call(1, basic::Qos { prefetch_count: 1, global: true, ..Default::default() }).await;
        for tag in ["a", "b"] {
            peer.consume("q", tag).await;
        }
        for _ in 0..3 {
            peer.put("q", Properties::default(), "x").await;
        }
        peer.send(1, channel::Flow { active: true }).await;
        let mut came = 0;
        while let Some(frame) = peer.next().await {
            match frame {
                Frame::Method(1, Method::Basic(basic::Method::Deliver(_))) => came += 1,
                Frame::Method(1, Method::Channel(channel::Method::FlowOk(_))) => break,
                _ => {}
            }
        }
        assert_eq!(came, if version == RabbitMq::V4_3 { 2 } else { 1 }, "{version}");
    }
}

#[tokio::test]
async fn quorum_queues_of_4_3_have_32_priorities() {
    let published = [0, 31, 4, 200, 5, 30, 1];
    for (version, expected) in [
        (RabbitMq::V3_10, [0, 31, 4, 200, 5, 30, 1]),
        (RabbitMq::V4_2, [31, 200, 0, 5, 30, 4, 1]),
        (RabbitMq::V4_3, [31, 200, 30, 5, 4, 1, 0]),
    ] {
        let mut peer = Peer::open(&like(version)).await;
        peer.fresh("q", [("x-queue-type", "quorum".into())]).await;
        for priority in published {
            let properties = Properties { priority: Some(priority), ..Default::default() };
            peer.put("q", properties, &priority.to_string()).await;
        }
        assert_eq!(peer.bodies("q").await, expected.map(|priority| priority.to_string()), "{version}");
    }
    let text = "406 PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'qb' in vhost '/' of queue type \
                rabbit_quorum_queue";
    let refused = (Closed::Channel, text);
    closes(&[on(quorum([("x-max-priority", 31.into())]))], refused, refused).await;
}

/// Gets a message, which must be there; returns its tag, `x-delivery-count` and `x-acquired-count`.
async fn get(peer: &mut Peer) -> (u64, [Option<i64>; 2]) {
    peer.send(1, basic::Get { queue: name("q"), ..Default::default() }).await;
    let got = peer.expect_content::<basic::GetOk>().await;
    let headers = got.headers();
    let count = |name| headers.get(name).and_then(|count| count.as_i64());
    (got.method.delivery_tag, [count("x-delivery-count"), count("x-acquired-count")])
}

/// Tells whether a queue is empty for a client.
async fn is_empty(peer: &mut Peer) -> bool {
    peer.bodies("q").await.is_empty()
}

#[tokio::test]
async fn the_default_delivery_limit_is_20_from_4_0_on_and_a_negative_one_is_none() {
    let negative = ("x-delivery-limit", Value::I32(-1));
    for version in [RabbitMq::V3_10, RabbitMq::V4_0, RabbitMq::V4_2, RabbitMq::V4_3] {
        for limit in [None, Some(negative.clone())] {
            let most = match (version, &limit) {
                (RabbitMq::V3_10, None) | (RabbitMq::V4_0 | RabbitMq::V4_2 | RabbitMq::V4_3, Some(_)) => 40,
                (RabbitMq::V3_10, Some(_)) => 1,
                _ => 21,
            };
            let mut peer = Peer::open(&like(version)).await;
            let mut arguments = vec![("x-queue-type", "quorum".into())];
            arguments.extend(limit);
            let mut declare = queue::Declare { durable: true, ..transient("q") };
            for (argument, value) in arguments {
                declare.arguments.push(argument, value).unwrap();
            }
            peer.call(1, declare).await;
            peer.put("q", Properties::default(), "x").await;
            for _ in 0..most {
                let (delivery_tag, _) = get(&mut peer).await;
                peer.send(1, basic::Reject { delivery_tag, requeue: true }).await;
            }
            assert_eq!(is_empty(&mut peer).await, most < 40, "{version}");
        }
    }
}

#[tokio::test]
async fn only_failures_count_towards_the_limit_of_4_3() {
    let mut peer = Peer::open(&like(RabbitMq::V4_3)).await;
    peer.fresh("q", [("x-queue-type", "quorum".into()), ("x-delivery-limit", 2.into())]).await;
    peer.put("q", Properties::default(), "x").await;
    // A nack only counts as one more acquisition.
    for acquired in 0..5 {
        let (tag, counts) = get(&mut peer).await;
        assert_eq!(counts, [None, (acquired > 0).then_some(acquired)]);
        peer.nack(tag, true).await;
    }
    for (failures, acquired) in [(0, 5), (1, 6)] {
        let (delivery_tag, counts) = get(&mut peer).await;
        assert_eq!(counts, [(failures > 0).then_some(failures), Some(acquired)]);
        peer.send(1, basic::Reject { delivery_tag, requeue: true }).await;
    }
    // The end of the channel counts too.
    get(&mut peer).await;
    peer.call(1, channel::Close::default()).await;
    peer.call(1, channel::Open::default()).await;
    assert!(is_empty(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn what_returns_to_a_queue_of_4_3_waits_as_the_queue_asks() {
    let milliseconds = Duration::from_millis;
    let mut peer = Peer::open(&like(RabbitMq::V4_3)).await;
    peer.fresh(
        "q",
        [
            ("x-queue-type", "quorum".into()),
            ("x-delayed-retry-type", "all".into()),
            ("x-delayed-retry-min", 3000.into()),
            ("x-delayed-retry-max", 7000.into()),
        ],
    )
    .await;
    peer.put("q", Properties::default(), "x").await;
    peer.take("q").await;
    // A nack waits for the shortest delay, a rejection longer each time, up to the longest.
    for (requeue_by_nack, delay) in [(true, 3000), (true, 3000), (false, 3000), (false, 6000), (false, 7000)]
    {
        let delivery_tag = peer.came().await.method.delivery_tag;
        match requeue_by_nack {
            true => peer.nack(delivery_tag, true).await,
            false => peer.send(1, basic::Reject { delivery_tag, requeue: true }).await,
        }
        peer.settle_down().await;
        tokio::time::sleep(milliseconds(delay - 10)).await;
        // Nothing has come meanwhile, so the next frame is this answer.
        let declare = queue::Declare { queue: name("q"), passive: true, ..Default::default() };
        assert_eq!(peer.call(1, declare).await.message_count, 0);
    }
    assert_eq!(peer.came().await.text(), "x");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_purged_and_deleted_with_its_queue_and_other_queues_know_no_delay() {
    let broker = like(RabbitMq::V4_3);
    let delayed = || {
        [
            ("x-queue-type", "quorum".into()),
            ("x-delayed-retry-type", "returned".into()),
            ("x-delayed-retry-min", Value::I32(3000)),
        ]
    };
    let mut peer = Peer::open(&broker).await;
    for deletes in [false, true] {
        peer.fresh("q", delayed()).await;
        peer.put("q", Properties::default(), "x").await;
        let (tag, _) = get(&mut peer).await;
        peer.nack(tag, true).await;
        assert!(is_empty(&mut peer).await);
        match deletes {
            true => {
                peer.call(1, queue::Delete { queue: name("q"), ..Default::default() }).await;
            }
            false => {
                peer.call(1, queue::Purge { queue: name("q"), ..Default::default() }).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        if !deletes {
            assert!(is_empty(&mut peer).await);
        }
    }
    let with = |kind: &str, value: &str| {
        let arguments = table([("x-queue-type", kind.into()), ("x-delayed-retry-type", value.into())]);
        [on(queue::Declare { durable: true, arguments, ..transient("qb") })]
    };
    let classic = "406 PRECONDITION_FAILED - invalid arg 'x-delayed-retry-type' for queue 'qb' in vhost '/' of queue \
                   type rabbit_classic_queue";
    closes(&with("classic", "all"), NOTHING, (Closed::Channel, classic)).await;
    let bogus = "406 PRECONDITION_FAILED - invalid arg 'x-delayed-retry-type' for queue 'qb' in vhost '/': \
                 invalid_delayed_retry_type";
    closes(&with("quorum", "bogus"), NOTHING, (Closed::Channel, bogus)).await;
}

#[tokio::test]
async fn a_passive_declaration_needs_some_permission_in_4_3() {
    for version in [RabbitMq::V4_2, RabbitMq::V4_3] {
        let permissions = Permissions::new("^configured$", "^written$", "^read$").unwrap();
        let broker = Broker::builder()
            .user("guest", "guest")
            .user("ada", "secret")
            .permissions("ada", "/", permissions)
            .like(version)
            .build();
        let mut owner = Peer::open(&broker).await;
        for queue in ["configured", "written", "read", "other"] {
            owner.fresh(queue, []).await;
            owner.fresh_exchange(queue, "direct").await;
            let mut peer = Peer::silent(&broker);
            peer.log_in_as(start_ok("ada", "secret"), "/", 131_072).await;
            peer.call(1, channel::Open::default()).await;
            let declare = queue::Declare { queue: short(queue), passive: true, ..Default::default() };
            if queue != "other" || version != RabbitMq::V4_3 {
                peer.call(1, declare).await;
                continue;
            }
            peer.send(1, declare).await;
            let text =
                "channel 403 ACCESS_REFUSED - access to queue 'other' in vhost '/' refused for user 'ada'";
            assert_eq!(peer.refusal().await, text);
            peer.send(1, channel::CloseOk {}).await;
            peer.call(1, channel::Open::default()).await;
            let declare = amqp_codec::method::exchange::Declare {
                exchange: short("other"),
                passive: true,
                ..Default::default()
            };
            peer.send(1, declare).await;
            let text =
                "channel 403 ACCESS_REFUSED - access to exchange 'other' in vhost '/' refused for user 'ada'";
            assert_eq!(peer.refusal().await, text);
        }
    }
}

/// The notes of 4.1: clients that ask for less than 8192 cannot connect, and logins up to that size
/// are read.
#[tokio::test]
async fn from_4_1_on_frames_have_at_least_8192_octets() {
    for (version, least) in [(RabbitMq::V4_0, 4096), (RabbitMq::V4_2, 8192), (RabbitMq::V4_3, 8192)] {
        for (frame_max, is_enough) in [(least, true), (least - 1, false)] {
            let mut peer = Peer::silent(&like(version));
            peer.raw(&amqp_codec::frame::PROTOCOL_HEADER).await;
            peer.expect::<connection::Start>(0).await;
            let mut start_ok = start_ok("guest", "guest");
            start_ok.client_properties.insert("fill", "x".repeat(least as usize - 500)).unwrap();
            peer.send(0, start_ok).await;
            peer.expect::<connection::Tune>(0).await;
            peer.send(0, connection::TuneOk { channel_max: 1, frame_max, heartbeat: 0 }).await;
            peer.send(0, connection::Open { virtual_host: short("/"), ..Default::default() }).await;
            assert_eq!(peer.next().await.is_some(), is_enough, "{version} {frame_max}");
        }
    }
    // A broker that offers less can still be connected to.
    let broker = Broker::builder().frame_max(4096).like(RabbitMq::V4_3).build();
    Peer::greet(&broker, "/", 4096).await;
}

/// From 4.2 on the pseudo-queue of direct replies is a queue for routing.
#[tokio::test]
async fn a_mandatory_direct_reply_is_returned_up_to_4_1_even_when_it_arrives() {
    for version in RabbitMq::ALL {
        let mut peer = Peer::open(&like(version)).await;
        peer.fresh("q", []).await;
        let queue = short("amq.rabbitmq.reply-to");
        let consume = basic::Consume { queue: queue.clone(), no_ack: true, ..Default::default() };
        peer.call(1, consume).await;
        peer.put("q", Properties { reply_to: Some(queue), ..Default::default() }, "request").await;
        peer.send(1, basic::Get { queue: name("q"), no_ack: true, ..Default::default() }).await;
        let got = peer.expect_content::<basic::GetOk>().await;
        let reply_to = got.properties().reply_to.unwrap().to_string();
        peer.publish_with("", &reply_to, Properties::default(), true, b"reply").await;
        let is_returned = [RabbitMq::V3_10, RabbitMq::V4_0].contains(&version);
        let (mut arrived, mut returned) = (0, 0);
        for _ in 0..if is_returned { 2 } else { 1 } {
            match peer.next().await {
                Some(Frame::Method(1, Method::Basic(basic::Method::Deliver(_)))) => arrived += 1,
                Some(Frame::Method(1, Method::Basic(basic::Method::Return(_)))) => returned += 1,
                other => panic!("no method: {other:?}"),
            }
            peer.next().await;
            peer.next().await;
        }
        assert_eq!((arrived, returned), (1, u8::from(is_returned)), "{version}");
        // Nothing else came, and one that nobody waits for is returned.
        peer.publish_with("", &format!("{reply_to}x"), Properties::default(), true, b"late").await;
        assert_eq!(peer.expect_content::<basic::Return>().await.text(), "late", "{version}");
    }
}

/// A quorum queue with a time of its own, and a message on its way to a consumer of it.
async fn timed(peer: &mut Peer, timeout: Option<Value>, consumer: Option<Value>) {
    let mut declare = queue::Declare { durable: true, ..transient("q") };
    declare.arguments.push("x-queue-type", "quorum").unwrap();
    if let Some(timeout) = timeout {
        declare.arguments.push("x-consumer-timeout", timeout).unwrap();
    }
    peer.call(1, declare).await;
    peer.put("q", Properties::default(), "x").await;
    let mut consume = basic::Consume { queue: name("q"), consumer_tag: name("slow"), ..Default::default() };
    if let Some(timeout) = consumer {
        consume.arguments.push("x-consumer-timeout", timeout).unwrap();
    }
    peer.call(1, consume).await;
    assert_eq!(peer.came().await.text(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_of_4_3_that_is_too_slow_ends_and_what_it_had_returns() {
    let broker = Broker::builder().like(RabbitMq::V4_3).consumer_timeout(Duration::from_secs(50)).build();
    for (queue_time, consumer_time, seconds) in
        [(None, None, 50), (Some(7000.into()), None, 7), (Some(7000.into()), Some(9000.into()), 9)]
    {
        let mut peer = Peer::open(&broker).await;
        timed(&mut peer, queue_time, consumer_time).await;
        let began = tokio::time::Instant::now();
        let cancel = peer.expect::<basic::Cancel>(1).await;
        assert_eq!((cancel.consumer_tag, began.elapsed().as_secs()), (name("slow"), seconds));
        // The channel is open, and what was returned may still be settled, which does nothing.
        peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
        assert_eq!(get(&mut peer).await.1, [None, Some(1)]);
        peer.send(1, basic::Ack { delivery_tag: 2, multiple: true }).await;
        peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
        let text = "channel 406 PRECONDITION_FAILED - unknown delivery tag 1";
        assert_eq!(peer.refusal().await, text, "it is settled once");
        peer.send(1, channel::CloseOk {}).await;
        peer.call(1, channel::Open::default()).await;
        peer.call(1, queue::Delete { queue: name("q"), ..Default::default() }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_4_3_that_is_not_told_of_cancels_loses_its_channel() {
    let broker = Broker::builder().like(RabbitMq::V4_3).consumer_timeout(Duration::from_secs(5)).build();
    let mut peer = Peer::silent(&broker);
    let start_ok = connection::StartOk { client_properties: table([]), ..start_ok("guest", "guest") };
    peer.log_in_as(start_ok, "/", 131_072).await;
    peer.call(1, channel::Open::default()).await;
    timed(&mut peer, None, None).await;
    let refusal = peer.refusal().await;
    let text = "channel 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 5000 ms";
    assert!(refusal.starts_with(text), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn classic_queues_and_streams_of_4_3_have_no_consumer_timeout() {
    for (kind, version, closes) in [
        ("classic", RabbitMq::V4_2, true),
        ("classic", RabbitMq::V4_3, false),
        ("stream", RabbitMq::V4_2, true),
        ("stream", RabbitMq::V4_3, false),
    ] {
        let broker = Broker::builder().like(version).consumer_timeout(Duration::from_secs(5)).build();
        let mut peer = Peer::open(&broker).await;
        peer.fresh("q", [("x-queue-type", kind.into())]).await;
        peer.call(1, basic::Qos { prefetch_count: 5, ..Default::default() }).await;
        peer.take("q").await;
        peer.put("q", Properties::default(), "x").await;
        peer.came().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        peer.send(1, channel::Flow { active: true }).await;
        match peer.next().await {
            Some(Frame::Method(1, Method::Channel(channel::Method::Close(_)))) => {
                assert!(closes, "{kind} {version}");
            }
            Some(Frame::Method(1, Method::Channel(channel::Method::FlowOk(_)))) => {
                assert!(!closes, "{kind} {version}");
            }
            other => panic!("neither closed nor open: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_transaction_of_4_3_has_at_most_10_000_publishes() {
    for version in RabbitMq::ALL {
        let broker = like(version);
        let mut peer = Peer::open(&broker).await;
        peer.fresh("q", []).await;
        peer.call(1, tx::Select {}).await;
        for _ in 0..10_000 {
            peer.put("q", Default::default(), "m").await;
        }
        // They are all there, and the next transaction has room again.
        peer.call(1, tx::Commit {}).await;
        assert_eq!(broker.queue("/", "q").unwrap().ready, 10_000, "{version}");
        for _ in 0..10_001 {
            peer.put("q", Default::default(), "m").await;
        }
        if version == RabbitMq::V4_3 {
            let text = "channel 406 PRECONDITION_FAILED - a transaction has at most 10000 publishes";
            assert_eq!(peer.refusal().await, text);
        } else {
            peer.call(1, tx::Commit {}).await;
            assert_eq!(broker.queue("/", "q").unwrap().ready, 20_001, "{version}");
        }
    }
}

#[tokio::test]
async fn ages_of_streams_are_compared_as_times_in_4_3() {
    let stream = |age: &str| {
        let arguments = table([("x-queue-type", "stream".into()), ("x-max-age", age.into())]);
        on(queue::Declare { durable: true, arguments, ..transient("q") })
    };
    const OTHER: &str = "406 PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue 'q' in vhost '/': \
                         received '24h' but current is '1D'";
    closes(&[stream("1D"), stream("24h")], (Closed::Channel, OTHER), NOTHING).await;
    const LONGER: &str = "406 PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue 'q' in vhost '/': \
                          received '25h' but current is '1D'";
    let longer = (Closed::Channel, LONGER);
    closes(&[stream("1D"), stream("25h")], longer, longer).await;
}

#[tokio::test]
async fn a_refusal_for_want_of_permission_names_the_act_from_4_0_on() {
    for version in RabbitMq::ALL {
        let none = Permissions::new("", "", "").unwrap();
        let broker = Broker::builder().like(version).user("guest", "guest").permissions("guest", "/", none);
        let mut peer = Peer::open(&broker.build()).await;
        peer.send(1, queue::Declare { queue: short("q"), durable: true, ..Default::default() }).await;
        let act = if version == RabbitMq::V3_10 { "" } else { "configure " };
        let text = format!(
            "channel 403 ACCESS_REFUSED - {act}access to queue 'q' in vhost '/' refused for user 'guest'"
        );
        assert_eq!(peer.refusal().await, text, "{version}");
    }
}

#[tokio::test]
async fn topic_permissions_hold_for_copies_from_4_0_on() {
    for version in RabbitMq::ALL {
        let own = TopicPermissions::new("^a", "").unwrap();
        let broker = Broker::builder().like(version).user("guest", "guest");
        let broker = broker.topic_permissions("guest", "/", "amq.topic", own).build();
        let mut peer = Peer::open(&broker).await;
        let mut copies = Array::new();
        copies.push("x").unwrap();
        let copied = headers(table([("CC", copies.into())]));
        peer.publish_with("amq.topic", "a", copied, true, b"m").await;
        if version == RabbitMq::V3_10 {
            peer.expect_content::<basic::Return>().await;
            continue;
        }
        let text = "channel 403 ACCESS_REFUSED - write access to topic 'x' in exchange 'amq.topic' in vhost '/' \
                    refused for user 'guest'";
        assert_eq!(peer.refusal().await, text, "{version}");
    }
}
