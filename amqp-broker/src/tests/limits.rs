//! How much of it a client gets, and what it is told beyond.

use std::time::Duration;

use amqp_codec::{
    ContentHeader, Frame, Properties, Table,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};

use super::{
    errors::{Closed, on, outcome, publish, queue as declared},
    peer::{FRAME_MAX, Peer, short, start_ok},
};
use crate::broker::Broker;

async fn refused_at_open(broker: &Broker) -> (u16, String) {
    let mut peer = Peer::silent(broker);
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.send(0, start_ok("guest", "guest")).await;
    peer.expect::<connection::Tune>(0).await;
    peer.send(0, connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 }).await;
    peer.send(0, connection::Open { virtual_host: short("/"), ..Default::default() }).await;
    let close = peer.expect::<connection::Close>(0).await;
    (close.reply_code, close.reply_text.to_string())
}

#[tokio::test]
async fn one_connection_too_many_is_refused_until_another_has_gone() {
    let broker = Broker::builder().vhost("/").vhost("other").max_connections(2).build();
    let first = Peer::open(&broker).await;
    let mut second = Peer::open(&broker).await;
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (2) is reached";
    assert_eq!(refused_at_open(&broker).await, (530, text.to_owned()));
    // Each virtual host has its own.
    Peer::greet(&broker, "other", FRAME_MAX as u32).await;
    second.call(0, connection::Close::default()).await;
    Peer::open(&broker).await;
    drop(first);
}

#[tokio::test]
async fn one_channel_too_many_closes_the_connection() {
    let broker = Broker::builder().channel_max(2).build();
    let mut peer = Peer::open(&broker).await;
    peer.call(7, channel::Open::default()).await;
    peer.send(3, channel::Open::default()).await;
    let close = peer.expect::<connection::Close>(0).await;
    let text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
    assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (530, text));
}

#[tokio::test]
async fn one_queue_too_many_is_refused_on_the_channel_and_one_that_exists_is_not() {
    let broker = Broker::builder().vhost("sem").max_queues(1).build();
    let greet = || Peer::greet(&broker, "sem", FRAME_MAX as u32);
    let frames = [on(declared("q1")), on(declared("q1"))];
    assert_eq!(outcome(greet().await, &frames).await, (Closed::Nothing, String::new()));
    let text =
        "406 PRECONDITION_FAILED - cannot declare queue 'q2': queue limit in vhost 'sem' (1) is reached";
    assert_eq!(outcome(greet().await, &[on(declared("q2"))]).await, (Closed::Channel, text.to_owned()));
}

#[tokio::test]
async fn one_exchange_or_binding_too_many_is_refused_until_another_has_gone() {
    let broker = Broker::builder().vhost("sem").max_exchanges(1).max_bindings(2).build();
    let greet = || Peer::greet(&broker, "sem", FRAME_MAX as u32);
    let exchange =
        |name| exchange::Declare { exchange: short(name), kind: short("topic"), ..Default::default() };
    let bind = |key| {
        let (queue, exchange, routing_key) = (short("q"), short("amq.topic"), short(key));
        queue::Bind { queue, exchange, routing_key, ..Default::default() }
    };
    let nothing = (Closed::Nothing, String::new());
    // What is there already is no more.
    assert_eq!(outcome(greet().await, &[on(exchange("e")), on(exchange("e"))]).await, nothing);
    let text =
        "406 PRECONDITION_FAILED - cannot declare exchange 'f': exchange limit in vhost 'sem' (1) is reached";
    assert_eq!(outcome(greet().await, &[on(exchange("f"))]).await, (Closed::Channel, text.to_owned()));
    let delete = exchange::Delete { exchange: short("e"), ..Default::default() };
    assert_eq!(outcome(greet().await, &[on(delete), on(exchange("f"))]).await, nothing);

    let frames = [on(declared("q")), on(bind("a")), on(bind("b")), on(bind("a"))];
    assert_eq!(outcome(greet().await, &frames).await, nothing);
    let text = "406 PRECONDITION_FAILED - cannot bind to exchange 'amq.topic': binding limit in vhost 'sem' (2) is reached";
    assert_eq!(outcome(greet().await, &[on(bind("c"))]).await, (Closed::Channel, text.to_owned()));
    let (queue, exchange, routing_key) = (short("q"), short("amq.topic"), short("a"));
    let unbind = queue::Unbind { queue, exchange, routing_key, ..Default::default() };
    assert_eq!(outcome(greet().await, &[on(unbind), on(bind("c"))]).await, nothing);
    let delete = queue::Delete { queue: short("q"), ..Default::default() };
    let frames = [on(delete), on(declared("q")), on(bind("a")), on(bind("b"))];
    assert_eq!(outcome(greet().await, &frames).await, nothing);
}

#[tokio::test]
async fn one_consumer_too_many_closes_the_connection() {
    let broker = Broker::builder().max_consumers(1).build();
    let consume = |tag| basic::Consume { queue: short("q"), consumer_tag: short(tag), ..Default::default() };
    let frames = [on(declared("q")), on(consume("a")), on(consume("b"))];
    let text = "530 NOT_ALLOWED - reached maximum (1) of consumers per channel";
    let greeted = Peer::greet(&broker, "/", FRAME_MAX as u32).await;
    assert_eq!(outcome(greeted, &frames).await, (Closed::Connection, text.to_owned()));
}

#[tokio::test]
async fn a_frame_over_frame_max_closes_the_connection() {
    let broker = Broker::builder().frame_max(4096).build();
    let peer = Peer::greet(&broker, "/", 4096).await;
    let [method, header, _] = publish("", "q", &Default::default());
    let body = Frame::Body(1, vec![0; 4097].into());
    let text = "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}";
    assert_eq!(outcome(peer, &[method, header, body]).await, (Closed::Connection, text.to_owned()));
}

#[tokio::test]
async fn consumers_wait_at_the_limit_of_unacknowledged_deliveries_and_gets_are_refused() {
    let broker = Broker::builder().max_unacked(2).build();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for body in ["1", "2", "3", "4"] {
        peer.publish("", "q", body).await;
    }
    peer.consume("q", "t").await;
    assert_eq!(peer.delivery().await.0, 1);
    assert_eq!(peer.delivery().await.0, 2);
    peer.settle_down().await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert_eq!(peer.delivery().await, (3, false, "3".to_owned()));
    peer.settle_down().await;
    peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
    let close = peer.expect::<channel::Close>(1).await;
    assert_eq!(close.reply_code, 406);
    assert_eq!(broker.queue("/", "q").unwrap().ready, 3);
}

/// A publish to `q`, of whose body all has come, or some.
fn publish_in_part(announced: u64, came: usize) -> [Frame; 3] {
    let publish = basic::Publish { routing_key: short("q"), ..Default::default() };
    let properties = Properties::default().encode().unwrap();
    let header = ContentHeader { class_id: 60, body_size: announced, properties };
    [on(publish), Frame::Header(1, header), Frame::Body(1, vec![0; came].into())]
}

async fn send_all(peer: &mut Peer, frames: impl IntoIterator<Item = Frame>) {
    for frame in frames {
        peer.frame(&frame).await;
    }
}

#[tokio::test]
async fn what_is_not_published_is_limited_too_until_it_is_or_never_will_be() {
    let broker = Broker::builder().memory_limit(100_000).build();
    let greet = || Peer::greet(&broker, "/", FRAME_MAX as u32);
    let text = "506 RESOURCE_ERROR - bodies under way and open transactions take more than the memory there is for \
                them (100000 bytes)";
    let refused = (Closed::Connection, text.to_owned());
    let begun = || publish_in_part(200_000, 60_000);
    // Two bodies begun are too many.
    let mut first = Peer::open(&broker).await;
    send_all(&mut first, begun()).await;
    first.call(2, channel::Open::default()).await;
    assert_eq!(outcome(greet().await, &begun()).await, refused);
    drop(first);
    while !broker.connections().is_empty() {
        tokio::task::yield_now().await;
    }
    // So are many publishes before a commit; what was committed or rolled back makes room.
    let whole = |count| (0..count).flat_map(|_| publish_in_part(20_000, 20_000)).collect::<Vec<_>>();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(1, tx::Select {}).await;
    for _ in 0..3 {
        send_all(&mut peer, whole(4)).await;
        peer.call(1, tx::Rollback {}).await;
    }
    send_all(&mut peer, whole(4)).await;
    peer.call(1, tx::Commit {}).await;
    peer.call(1, queue::Purge { queue: short("q"), ..Default::default() }).await;
    let frames = [vec![on(tx::Select {})], whole(5)].concat();
    assert_eq!(outcome(greet().await, &frames).await, refused);
    send_all(&mut peer, whole(4)).await;
    peer.call(1, tx::Commit {}).await;
    assert_eq!(broker.queue("/", "q").unwrap().ready, 4);
}

#[tokio::test]
async fn headers_take_memory_as_bodies_do() {
    let broker = Broker::builder().memory_limit(100_000).build();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    let mut headers = Table::new();
    headers.insert("large", "x".repeat(30_000)).unwrap();
    let properties = Properties { headers: Some(headers), ..Default::default() };
    peer.call(1, confirm::Select::default()).await;
    for _ in 0..4 {
        peer.publish_with("", "q", properties.clone(), false, b"").await;
        peer.expect::<basic::Ack>(1).await;
    }
    peer.publish_with("", "q", properties.clone(), false, b"").await;
    peer.expect::<connection::Blocked>(0).await;
    assert_eq!(broker.queue("/", "q").unwrap().ready, 4);
}

#[tokio::test]
async fn publishers_are_blocked_at_the_memory_limit_until_consumers_have_made_room() {
    let broker = Broker::builder().memory_limit(100_000).build();
    let mut publisher = Peer::open(&broker).await;
    publisher.call(1, confirm::Select::default()).await;
    publisher.declare("q").await;
    let body = vec![0; 10_000];
    let mut confirmed = 0;
    let blocked = loop {
        publisher.publish_with("", "q", Default::default(), false, &body).await;
        match publisher.next().await {
            Some(Frame::Method(1, _)) => confirmed += 1,
            Some(Frame::Method(0, method)) => break method.id().name(),
            other => panic!("neither a confirm nor blocked: {other:?}"),
        }
        assert!(confirmed <= 10, "nothing held it back");
    };
    assert_eq!((blocked, confirmed), (Some("connection.blocked"), 10));
    // One that only consumes goes on, and makes room by what it acknowledges.
    let mut consumer = Peer::open(&broker).await;
    consumer.consume("q", "t").await;
    for _ in 0..10 {
        consumer.expect_content::<basic::Deliver>().await;
    }
    consumer.settle_down().await;
    assert_eq!(broker.connections()[0].state, crate::inspection::ConnectionState::Blocked);
    consumer.send(1, basic::Ack { delivery_tag: 2, multiple: true }).await;
    publisher.expect::<connection::Unblocked>(0).await;
    publisher.expect::<basic::Ack>(1).await;
    consumer.expect_content::<basic::Deliver>().await;
}

#[tokio::test]
async fn messages_that_expire_or_are_purged_make_room_too() {
    for expiring in [true, false] {
        let broker = Broker::builder().memory_limit(10_000).build();
        let mut publisher = Peer::open(&broker).await;
        publisher.declare("q").await;
        let properties =
            || amqp_codec::Properties { expiration: expiring.then(|| short("50")), ..Default::default() };
        publisher.publish_with("", "q", properties(), false, &[0; 10_000]).await;
        publisher.settle_down().await;
        publisher.publish_with("", "q", properties(), false, &[0; 10_000]).await;
        publisher.expect::<connection::Blocked>(0).await;
        if !expiring {
            let mut other = Peer::open(&broker).await;
            other.call(1, queue::Purge { queue: short("q"), ..Default::default() }).await;
        }
        publisher.expect::<connection::Unblocked>(0).await;
        publisher.settle_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_sent_no_more_than_fits_and_asked_no_more() {
    let broker = Broker::builder().build();
    let mut publisher = Peer::open(&broker).await;
    publisher.declare("q").await;
    let mut lazy = Peer::open(&broker).await;
    lazy.send(1, basic::Consume { queue: short("q"), no_ack: true, ..Default::default() }).await;
    let body = vec![0; 1 << 20];
    for _ in 0..10 {
        publisher.publish_with("", "q", Default::default(), false, &body).await;
    }
    publisher.settle_down().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(broker.queue("/", "q").unwrap().ready >= 6, "{:?}", broker.queue("/", "q"));
}
