//! The behaviour of queues, consumers, confirms and transactions.

use std::time::Duration;

use amqp_codec::{
    Array, Frame, Method, Properties, Table, Value,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};

use crate::{
    broker::Broker,
    tests::peer::{FRAME_MAX, Peer, short},
};

fn broker() -> Broker {
    Broker::builder().build()
}

/// The numbers of ready messages, unacknowledged messages and consumers of the queue `q`.
fn counts(broker: &Broker) -> Option<(usize, usize, usize)> {
    broker.queue("/", "q").map(|queue| (queue.ready, queue.unacked, queue.consumers))
}

fn table(key: &str, value: impl Into<Value>) -> Table {
    let mut table = Table::new();
    table.insert(key, value).unwrap();
    table
}

async fn bind(peer: &mut Peer, queue: &str, exchange: &str, key: &str) {
    let bind = queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..Default::default()
    };
    peer.call(1, bind).await;
}

async fn nack(peer: &mut Peer, delivery_tag: u64, multiple: bool, requeue: bool) {
    peer.send(1, basic::Nack { delivery_tag, multiple, requeue }).await;
}

async fn prefetch(peer: &mut Peer, prefetch_count: u16, global: bool) {
    peer.call(1, basic::Qos { prefetch_count, global, ..Default::default() }).await;
}

#[tokio::test]
async fn each_kind_of_exchange_routes_its_way_and_to_each_queue_once() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    for queue in ["direct", "fanout", "topic"] {
        peer.declare(queue).await;
    }
    bind(&mut peer, "direct", "amq.direct", "a.b").await;
    bind(&mut peer, "fanout", "amq.fanout", "whatever").await;
    for key in ["a.*", "#", "a.b"] {
        bind(&mut peer, "topic", "amq.topic", key).await;
    }
    for exchange in ["amq.direct", "amq.fanout", "amq.topic"] {
        peer.publish(exchange, "a.b", exchange).await;
    }
    assert_eq!(peer.bodies("direct").await, ["amq.direct"]);
    assert_eq!(peer.bodies("fanout").await, ["amq.fanout"]);
    assert_eq!(peer.bodies("topic").await, ["amq.topic"]);
}

#[tokio::test]
async fn exchanges_are_bound_to_exchanges_in_circles_too() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for (destination, source) in [("amq.direct", "amq.fanout"), ("amq.fanout", "amq.direct")] {
        let bind = exchange::Bind {
            destination: short(destination),
            source: short(source),
            routing_key: short("k"),
            ..Default::default()
        };
        peer.call(1, bind).await;
    }
    bind(&mut peer, "q", "amq.direct", "k").await;
    peer.publish("amq.fanout", "k", "round").await;
    assert_eq!(peer.bodies("q").await, ["round"]);
}

#[tokio::test]
async fn what_nobody_wants_goes_to_the_alternate_exchange() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let arguments = table("alternate-exchange", "amq.fanout");
    peer.call(
        1,
        exchange::Declare { exchange: short("e"), kind: short("direct"), arguments, ..Default::default() },
    )
    .await;
    peer.declare("rest").await;
    bind(&mut peer, "rest", "amq.fanout", "").await;
    peer.publish("e", "nobody", "lost").await;
    assert_eq!(peer.bodies("rest").await, ["lost"]);
}

#[tokio::test]
async fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let declare = exchange::Declare {
        exchange: short("e"),
        kind: short("topic"),
        auto_delete: true,
        ..Default::default()
    };
    peer.call(1, declare.clone()).await;
    peer.declare("q").await;
    bind(&mut peer, "q", "e", "a").await;
    bind(&mut peer, "q", "e", "b").await;
    let unbind = queue::Unbind {
        queue: short("q"),
        exchange: short("e"),
        routing_key: short("a"),
        ..Default::default()
    };
    peer.call(1, unbind).await;
    let passive = exchange::Declare { passive: true, ..declare };
    peer.call(1, passive.clone()).await;
    peer.call(1, queue::Delete { queue: short("q"), ..Default::default() }).await;
    peer.send(1, passive).await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 404);
}

#[tokio::test]
async fn copies_go_to_cc_and_bcc_and_bcc_is_not_seen() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let mut headers = Table::new();
    for (queue, header) in [("cc", "CC"), ("bcc", "BCC")] {
        peer.declare(queue).await;
        let mut keys = Array::new();
        keys.push(queue).unwrap();
        headers.insert(header, Value::Array(keys)).unwrap();
    }
    headers.insert("other", 1).unwrap();
    let properties = Properties { headers: Some(headers), ..Default::default() };
    peer.publish_with("", "nobody", properties, true, b"copy").await;
    peer.settle_down().await;
    peer.send(1, basic::Get { queue: short("bcc"), ..Default::default() }).await;
    let got = peer.expect_content::<basic::GetOk>().await;
    let headers = got.header.properties.decode().unwrap().headers.unwrap();
    assert!(headers.contains_key("CC") && headers.contains_key("other") && !headers.contains_key("BCC"));
    assert_eq!(peer.bodies("cc").await, ["copy"]);
}

#[tokio::test]
async fn properties_and_headers_pass_byte_for_byte() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    let properties = Properties {
        headers: Some(table("k", Value::F32(0.5))),
        timestamp: Some(7),
        delivery_mode: Some(2),
        ..Default::default()
    };
    peer.publish_with("", "q", properties.clone(), false, b"").await;
    peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
    let got = peer.expect_content::<basic::GetOk>().await;
    assert_eq!(got.header.properties, properties.encode().unwrap());
    assert_eq!((got.method.message_count, got.body.len()), (0, 0));
}

#[tokio::test]
async fn a_large_body_passes_whole_between_connections_of_other_frame_max() {
    let broker = broker();
    let mut publisher = Peer::open(&broker).await;
    publisher.declare("q").await;
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n >> 3) as u8).collect();
    let mut consumer = Peer::greet(&broker, "/", 4096).await;
    consumer.call(1, channel::Open::default()).await;
    consumer.consume("q", "c").await;
    let publishing = publisher.publish_with("", "q", Properties::default(), false, &body);
    let (came, ()) = tokio::join!(consumer.expect_content::<basic::Deliver>(), publishing);
    assert!(came.body == body);
}

#[tokio::test]
async fn prefetch_limits_each_consumer_and_an_ack_makes_room() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    prefetch(&mut peer, 2, false).await;
    peer.consume("q", "c").await;
    for body in ["1", "2", "3", "4"] {
        peer.publish("", "q", body).await;
    }
    assert_eq!(peer.delivery().await, (1, false, "1".into()));
    assert_eq!(peer.delivery().await, (2, false, "2".into()));
    peer.settle_down().await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert_eq!(peer.delivery().await, (3, false, "3".into()));
    peer.settle_down().await;
    assert_eq!(counts(&broker), Some((1, 2, 1)));
}

#[tokio::test]
async fn a_global_prefetch_is_shared_by_the_channel() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    prefetch(&mut peer, 2, true).await;
    for (queue, tag) in [("a", "ca"), ("b", "cb")] {
        peer.declare(queue).await;
        peer.consume(queue, tag).await;
    }
    for queue in ["a", "b", "a", "b"] {
        peer.publish("", queue, queue).await;
    }
    assert_eq!((peer.delivery().await.0, peer.delivery().await.0), (1, 2));
    peer.settle_down().await;
    peer.send(1, basic::Ack { delivery_tag: 2, multiple: true }).await;
    let mut bodies = [peer.delivery().await.2, peer.delivery().await.2];
    bodies.sort();
    assert_eq!(bodies, ["a", "b"]);
    peer.settle_down().await;
}

#[tokio::test]
async fn messages_go_round_robin_and_to_higher_priority_first() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.consume("q", "a").await;
    peer.consume("q", "b").await;
    for _ in 0..4 {
        peer.publish("", "q", "x").await;
    }
    let mut tags = Vec::new();
    for _ in 0..4 {
        tags.push(peer.expect_content::<basic::Deliver>().await.method.consumer_tag.to_string());
    }
    assert_eq!(tags, ["a", "b", "a", "b"]);
    prefetch(&mut peer, 1, false).await;
    let first = basic::Consume {
        queue: short("q"),
        consumer_tag: short("first"),
        arguments: table("x-priority", 10),
        ..Default::default()
    };
    peer.call(1, first).await;
    for expected in ["first", "a"] {
        peer.publish("", "q", "x").await;
        assert_eq!(peer.expect_content::<basic::Deliver>().await.method.consumer_tag.to_text(), expected);
    }
}

#[tokio::test]
async fn a_single_active_consumer_fails_over_to_the_next() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let arguments = table("x-single-active-consumer", true);
    peer.call(1, queue::Declare { queue: short("q"), arguments, ..Default::default() }).await;
    peer.consume("q", "a").await;
    peer.consume("q", "b").await;
    for expected in ["a", "a"] {
        peer.publish("", "q", "x").await;
        assert_eq!(peer.expect_content::<basic::Deliver>().await.method.consumer_tag.to_text(), expected);
    }
    peer.call(1, basic::Cancel { consumer_tag: short("a"), no_wait: false }).await;
    peer.publish("", "q", "x").await;
    assert_eq!(peer.expect_content::<basic::Deliver>().await.method.consumer_tag.to_text(), "b");
}

#[tokio::test]
async fn requeued_messages_return_to_their_place_marked() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for body in ["1", "2", "3"] {
        peer.publish("", "q", body).await;
    }
    for _ in 0..2 {
        peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
        assert!(!peer.expect_content::<basic::GetOk>().await.method.redelivered);
    }
    nack(&mut peer, 2, false, true).await;
    nack(&mut peer, 1, false, true).await;
    peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
    let again = peer.expect_content::<basic::GetOk>().await;
    assert_eq!(
        (again.method.redelivered, again.body.as_ref(), again.method.message_count),
        (true, &b"1"[..], 2)
    );
    nack(&mut peer, 3, false, true).await;
    assert_eq!(peer.bodies("q").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn nack_multiple_and_reject_drop_or_requeue() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    prefetch(&mut peer, 3, false).await;
    for body in ["1", "2", "3", "4"] {
        peer.publish("", "q", body).await;
    }
    peer.consume("q", "c").await;
    for _ in 0..3 {
        peer.delivery().await;
    }
    nack(&mut peer, 2, true, false).await;
    assert_eq!(peer.delivery().await, (4, false, "4".into()));
    peer.send(1, basic::Reject { delivery_tag: 3, requeue: true }).await;
    assert_eq!(peer.delivery().await, (5, true, "3".into()));
}

#[tokio::test]
async fn recover_redelivers_all() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "1").await;
    peer.publish("", "q", "2").await;
    peer.consume("q", "c").await;
    assert_eq!((peer.delivery().await.0, peer.delivery().await.0), (1, 2));
    peer.call(1, basic::Recover { requeue: true }).await;
    assert_eq!(peer.delivery().await, (3, true, "1".into()));
    assert_eq!(peer.delivery().await, (4, true, "2".into()));
}

#[tokio::test]
async fn a_lost_connection_returns_its_messages_and_takes_its_exclusive_queues() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "1").await;
    let mut lost = Peer::open(&broker).await;
    let own = queue::Declare { queue: short("own"), exclusive: true, ..Default::default() };
    lost.call(1, own).await;
    lost.consume("q", "c").await;
    lost.delivery().await;
    drop(lost);
    peer.consume("q", "c").await;
    assert_eq!(peer.delivery().await, (1, true, "1".into()));
    assert_eq!(broker.queue("/", "own"), None);
}

#[tokio::test]
async fn an_auto_delete_queue_goes_with_its_last_consumer_and_not_before_the_first() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.call(1, queue::Declare { queue: short("q"), auto_delete: true, ..Default::default() }).await;
    peer.settle_down().await;
    assert!(broker.queue("/", "q").is_some());
    peer.consume("q", "c").await;
    peer.call(1, basic::Cancel { consumer_tag: short("c"), no_wait: false }).await;
    assert_eq!(broker.queue("/", "q"), None);
}

#[tokio::test]
async fn a_queue_without_name_gets_one_and_is_what_no_name_means() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let declared = peer.call(1, queue::Declare::default()).await;
    let name = declared.queue.to_string();
    assert!(name.starts_with("amq.gen-"), "{name}");
    peer.call(1, queue::Bind { exchange: short("amq.direct"), ..Default::default() }).await;
    peer.publish("amq.direct", &name, "by its name").await;
    assert_eq!(peer.call(1, queue::Declare { passive: true, ..Default::default() }).await.message_count, 1);
    assert_eq!(peer.call(1, queue::Purge::default()).await.message_count, 1);
}

#[tokio::test]
async fn confirms_come_after_returns_and_cover_all_that_was_published() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(1, confirm::Select::default()).await;
    peer.publish("", "nobody", "back").await;
    let returned = peer.expect_content::<basic::Return>().await;
    assert_eq!(
        (returned.method.reply_code, returned.method.reply_text.to_text().as_ref()),
        (312, "NO_ROUTE")
    );
    assert_eq!((returned.method.routing_key, returned.body.as_ref()), (short("nobody"), &b"back"[..]));
    assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, 1);
    for _ in 0..5 {
        peer.publish("", "q", "x").await;
    }
    let mut last = 1;
    while last < 6 {
        let ack = peer.expect::<basic::Ack>(1).await;
        assert!(ack.delivery_tag > last && (ack.multiple || ack.delivery_tag == last + 1));
        last = ack.delivery_tag;
    }
}

#[tokio::test]
async fn a_full_queue_drops_its_oldest_or_nacks_the_newest() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.call(1, confirm::Select::default()).await;
    for (queue, overflow) in [("drops", "drop-head"), ("rejects", "reject-publish")] {
        let mut arguments = table("x-max-length", 2);
        arguments.insert("x-overflow", overflow).unwrap();
        peer.call(1, queue::Declare { queue: short(queue), arguments, ..Default::default() }).await;
    }
    for (tag, body) in (1..).zip(["1", "2", "3"]) {
        peer.publish("", "drops", body).await;
        assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, tag);
    }
    for (tag, body) in (4..).zip(["1", "2"]) {
        peer.publish("", "rejects", body).await;
        assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, tag);
    }
    peer.publish("", "rejects", "3").await;
    assert_eq!(peer.expect::<basic::Nack>(1).await.delivery_tag, 6);
    assert_eq!(peer.bodies("drops").await, ["2", "3"]);
    assert_eq!(peer.bodies("rejects").await, ["1", "2"]);
}

#[tokio::test]
async fn a_transaction_publishes_and_acknowledges_at_its_commit_and_forgets_at_its_rollback() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "first").await;
    peer.call(1, tx::Select {}).await;
    peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
    peer.expect_content::<basic::GetOk>().await;
    let info = |ready, unacked| Some((ready, unacked, 0));
    for (end, expected) in [(false, info(0, 1)), (true, info(1, 0))] {
        peer.publish("", "q", "second").await;
        peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
        peer.settle_down().await;
        assert_eq!(counts(&broker), info(0, 1));
        if end {
            peer.call(1, tx::Commit {}).await;
        } else {
            peer.call(1, tx::Rollback {}).await;
        }
        assert_eq!(counts(&broker), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_queues_expire() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.call(
        1,
        queue::Declare { queue: short("ttl"), arguments: table("x-message-ttl", 1000), ..Default::default() },
    )
    .await;
    peer.declare("own").await;
    peer.call(
        1,
        queue::Declare { queue: short("unused"), arguments: table("x-expires", 5000), ..Default::default() },
    )
    .await;
    peer.publish("", "ttl", "x").await;
    let expiring = Properties { expiration: Some(short("2000")), ..Default::default() };
    peer.publish_with("", "own", expiring, false, b"x").await;
    peer.settle_down().await;
    let ready = |queue: &str| broker.queue("/", queue).map(|queue| queue.ready);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!((ready("ttl"), ready("own"), ready("unused")), (Some(1), Some(1), Some(0)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((ready("ttl"), ready("own")), (Some(0), Some(1)));
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!((ready("own"), ready("unused")), (Some(0), Some(0)));
    tokio::time::sleep(Duration::from_millis(3000)).await;
    assert_eq!(ready("unused"), None);
}

#[tokio::test]
async fn priorities_are_served_highest_first() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let arguments = table("x-max-priority", 5);
    peer.call(1, queue::Declare { queue: short("q"), arguments, ..Default::default() }).await;
    for (priority, body) in [(1, "low"), (200, "high"), (5, "high too")] {
        let properties = Properties { priority: Some(priority), ..Default::default() };
        peer.publish_with("", "q", properties, false, body.as_bytes()).await;
    }
    assert_eq!(peer.bodies("q").await, ["high", "high too", "low"]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_not_sent_more_than_a_bound_and_loses_nothing() {
    let broker = broker();
    let mut publisher = Peer::open(&broker).await;
    publisher.declare("q").await;
    let mut consumer = Peer::open(&broker).await;
    let no_ack = basic::Consume { queue: short("q"), no_ack: true, ..Default::default() };
    consumer.call(1, no_ack).await;
    let body = vec![b'x'; 50_000];
    const COUNT: usize = 200;
    for _ in 0..COUNT {
        publisher.publish_with("", "q", Properties::default(), false, &body).await;
    }
    publisher.settle_down().await;
    let waiting = broker.queue("/", "q").unwrap().ready;
    assert!(waiting > COUNT / 2, "{waiting} of {COUNT} wait in the queue");
    for _ in 0..COUNT {
        assert_eq!(consumer.expect_content::<basic::Deliver>().await.body.len(), body.len());
    }
}

#[tokio::test]
async fn a_client_that_asks_without_listening_is_not_read_from_for_ever() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    let body = vec![b'x'; FRAME_MAX - 8];
    peer.publish_with("", "q", Properties::default(), false, &body).await;
    peer.settle_down().await;
    // Each message is fetched, rejected and fetched again: requests of 40 bytes get answers of 128
    // KiB.
    let mut wanted = 0;
    let get = Frame::Method(1, basic::Get { queue: short("q"), no_ack: false, ..Default::default() }.into());
    while wanted < 20_000 {
        wanted += 1;
        let back = basic::Nack { delivery_tag: wanted, multiple: false, requeue: true };
        let asked = async {
            peer.frame(&get).await;
            peer.send(1, back).await;
        };
        if tokio::time::timeout(Duration::from_millis(200), asked).await.is_err() {
            return;
        }
    }
    panic!("the broker took everything");
}

#[tokio::test]
async fn a_close_says_its_last_words_in_every_state() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.send(1, basic::Publish::default()).await;
    peer.send(0, connection::Close { reply_code: 200, ..Default::default() }).await;
    assert_eq!(
        peer.next().await,
        Some(Frame::Method(0, Method::Connection(connection::Method::CloseOk(connection::CloseOk {}))))
    );
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_does_not_acknowledge_in_time_is_closed_and_its_messages_return() {
    let broker = Broker::builder().consumer_timeout(Duration::from_secs(60)).build();
    let mut lazy = Peer::open(&broker).await;
    lazy.declare("q").await;
    prefetch(&mut lazy, 2, false).await;
    lazy.consume("q", "c").await;
    for body in ["1", "2", "3"] {
        lazy.publish("", "q", body).await;
    }
    assert_eq!((lazy.delivery().await.0, lazy.delivery().await.0), (1, 2));
    tokio::time::sleep(Duration::from_secs(40)).await;
    lazy.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert_eq!(lazy.delivery().await, (3, false, "3".into()));
    // The second delivery is 60 seconds old now, the third 20.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let closed = lazy.expect::<channel::Close>(1).await;
    assert_eq!(
        (closed.reply_code, closed.reply_text.to_text().as_ref()),
        (
            406,
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms. This \
             timeout value can be configured, see consumers doc guide to learn more"
        )
    );
    lazy.send(1, channel::CloseOk {}).await;
    lazy.call(1, channel::Open::default()).await;
    assert_eq!(lazy.bodies("q").await, ["2", "3"]);
    lazy.call(1, channel::Close::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_of_a_client_that_does_not_read_gives_its_messages_back_in_time() {
    let broker = Broker::builder().consumer_timeout(Duration::from_secs(60)).build();
    let mut deaf = Peer::open(&broker).await;
    deaf.declare("q").await;
    deaf.consume("q", "c").await;
    let mut other = Peer::open(&broker).await;
    let body = vec![b'x'; 500_000];
    for _ in 0..10 {
        other.publish_with("", "q", Properties::default(), false, &body).await;
    }
    other.settle_down().await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let info = broker.queue("/", "q").unwrap();
    assert_eq!((info.ready, info.unacked, info.consumers), (10, 0, 0));
}
