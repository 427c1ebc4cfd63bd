//! What clients of a gateway see.

use amqp_codec::{
    Frame, Method,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};

use super::in_memory::InMemory;
use crate::{
    Broker,
    tests::{
        peer::{Peer, short},
        steps::{bind, exchange},
    },
};

fn gateway() -> (InMemory, Broker) {
    let backend = InMemory::default();
    (backend.clone(), Broker::builder().backend("/", backend).build())
}

async fn closed(peer: &mut Peer) -> (u16, String) {
    let close = peer.expect::<channel::Close>(1).await;
    peer.send(1, channel::CloseOk {}).await;
    (close.reply_code, close.reply_text.to_text().into_owned())
}

async fn prefetch(peer: &mut Peer, count: u16) {
    peer.call(1, basic::Qos { prefetch_size: 0, prefetch_count: count, global: false }).await;
}

#[tokio::test]
async fn a_message_passes_and_is_acknowledged() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.consume("q", "c").await;
    peer.publish("", "q", "hello").await;
    let (tag, redelivered, body) = peer.delivery().await;
    assert_eq!((tag, redelivered, &*body), (1, false, "hello"));
    peer.send(1, basic::Ack { delivery_tag: tag, multiple: false }).await;
    peer.settle_down().await;
    assert_eq!(backend.bodies("q").unwrap(), [""; 0]);
}

#[tokio::test]
async fn exchanges_route_by_their_type() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    for (name, kind, pattern) in [("d", "direct", "k"), ("t", "topic", "a.*"), ("f", "fanout", "")] {
        peer.call(1, exchange(name, kind)).await;
        peer.declare(&format!("{name}.q")).await;
        let binding = queue::Bind { routing_key: short(pattern), ..bind(&format!("{name}.q"), name) };
        peer.call(1, binding).await;
    }
    for (to, key) in [("d", "k"), ("d", "other"), ("t", "a.b"), ("t", "b"), ("f", "x")] {
        let properties = amqp_codec::Properties::default();
        peer.publish_with(to, key, properties, false, format!("{to} {key}").as_bytes()).await;
    }
    peer.settle_down().await;
    assert_eq!(backend.bodies("d.q").unwrap(), ["d k"]);
    assert_eq!(backend.bodies("t.q").unwrap(), ["t a.b"]);
    assert_eq!(backend.bodies("f.q").unwrap(), ["f x"]);
}

#[tokio::test]
async fn publishes_are_confirmed_returned_nacked() {
    let (_, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(1, confirm::Select::default()).await;
    peer.publish("", "q", "one").await;
    assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, 1);
    peer.publish("", "nowhere", "two").await;
    let returned = peer.expect_content::<basic::Return>().await;
    assert_eq!((returned.method.reply_code, &returned.body[..]), (312, &b"two"[..]));
    assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, 2);
    peer.publish("", "q", "reject").await;
    assert_eq!(peer.expect::<basic::Nack>(1).await.delivery_tag, 3);
    peer.publish("", "q", "four").await;
    assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, 4);
}

#[tokio::test]
async fn a_refused_publish_closes_its_channel_alone_and_ends_what_is_behind_it() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(2, channel::Open::default()).await;
    let mut out = bytes::BytesMut::new();
    for (to, key) in [("", "q"), ("missing", "q"), ("", "q")] {
        for frame in crate::tests::steps::publish(to, key, &Default::default()) {
            frame.encode(usize::MAX, &mut out).unwrap();
        }
    }
    peer.raw(&out).await;
    assert_eq!(closed(&mut peer).await, (404, "NOT_FOUND - no exchange 'missing'".to_owned()));
    peer.call(2, channel::Flow { active: true }).await;
    assert_eq!(backend.bodies("q").unwrap(), ["x"]);
    peer.call(1, channel::Open::default()).await;
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_taken_and_the_rest_stays() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for body in ["1", "2", "3", "4"] {
        peer.publish("", "q", body).await;
    }
    prefetch(&mut peer, 2).await;
    peer.consume("q", "c").await;
    assert_eq!(peer.delivery().await.2, "1");
    assert_eq!(peer.delivery().await.2, "2");
    peer.settle_down().await;
    assert_eq!(backend.bodies("q").unwrap(), ["3", "4"]);
    peer.send(1, basic::Nack { delivery_tag: 2, multiple: true, requeue: true }).await;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let (_, redelivered, body) = peer.delivery().await;
        bodies.push((redelivered, body));
    }
    assert_eq!(bodies, [(true, "1".to_owned()), (true, "2".to_owned())], "they keep their order");
}

#[tokio::test]
async fn what_a_channel_or_connection_leaves_returns_in_order() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    for body in ["1", "2", "3"] {
        peer.publish("", "q", body).await;
    }
    peer.consume("q", "c").await;
    for _ in 0..3 {
        peer.delivery().await;
    }
    peer.call(1, channel::Close::default()).await;
    assert_eq!(backend.bodies("q").unwrap(), ["1", "2", "3"]);
    let mut other = Peer::open(&broker).await;
    other.consume("q", "c").await;
    for _ in 0..3 {
        assert!(other.delivery().await.1, "it is redelivered");
    }
    drop(other);
    peer.call(1, channel::Open::default()).await;
    peer.consume("q", "c").await;
    for body in ["1", "2", "3"] {
        assert_eq!(peer.delivery().await.2, body);
    }
}

#[tokio::test]
async fn exclusive_queues_belong_to_their_connection_and_go_with_it() {
    let (backend, broker) = gateway();
    let (mut peer, mut other) = (Peer::open(&broker).await, Peer::open(&broker).await);
    let declare = || queue::Declare { queue: short("mine"), exclusive: true, ..Default::default() };
    peer.call(1, declare()).await;
    other.send(1, declare()).await;
    let (code, text) = closed(&mut other).await;
    assert_eq!(code, 405, "{text}");
    assert!(text.starts_with("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine'"));
    peer.call(0, connection::Close::default()).await;
    assert_eq!(backend.bodies("mine"), None);
    other.call(1, channel::Open::default()).await;
    other.call(1, declare()).await;
}

#[tokio::test]
async fn a_queue_without_a_name_gets_one_and_stands_for_the_last() {
    let (_, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    let declared = peer.call(1, queue::Declare::default()).await;
    let name = declared.queue.to_text().into_owned();
    assert!(name.starts_with("amq.gen-"), "{name}");
    peer.consume("", "c").await;
    peer.publish("", &name, "hello").await;
    assert_eq!(peer.delivery().await.2, "hello");
}

#[tokio::test]
async fn the_last_consumer_of_an_auto_delete_queue_leaves_it() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.call(1, queue::Declare { queue: short("q"), auto_delete: true, ..Default::default() }).await;
    for tag in ["a", "b"] {
        peer.consume("q", tag).await;
    }
    for (tag, left) in [("a", 0), ("b", 1)] {
        peer.call(1, basic::Cancel { consumer_tag: short(tag), no_wait: false }).await;
        assert_eq!(backend.left().len(), left);
    }
}

#[tokio::test]
async fn what_no_backend_has_closes_the_channel_that_asks() {
    let (_, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    let asked: [(Method, &str); 3] = [
        (tx::Select {}.into(), "transactions"),
        (exchange("h", "headers").into(), "exchanges of type headers"),
        (exchange::Bind::default().into(), "bindings between exchanges"),
    ];
    for (method, what) in asked {
        peer.send(1, method).await;
        let text = format!("NOT_IMPLEMENTED - {what} are not supported by this virtual host");
        assert_eq!(closed(&mut peer).await, (540, text));
        peer.call(1, channel::Open::default()).await;
    }
}

#[tokio::test]
async fn a_queue_that_is_deleted_elsewhere_ends_its_consumers() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.consume("q", "c").await;
    backend.delete("q");
    assert_eq!(peer.expect::<basic::Cancel>(1).await.consumer_tag, short("c"));
}

#[tokio::test]
async fn a_lost_backend_closes_the_connections_and_refuses_new_ones_until_it_is_back() {
    let (backend, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    backend.lose();
    let close = peer.expect::<connection::Close>(0).await;
    let text = "CONNECTION_FORCED - the memory is lost";
    assert_eq!((close.reply_code, &*close.reply_text.to_text()), (320, text));
    peer.send(0, connection::CloseOk {}).await;
    assert_eq!(peer.next().await, None);
    let mut late = Peer::silent(&broker);
    late.raw(&amqp_codec::frame::PROTOCOL_HEADER).await;
    late.expect::<connection::Start>(0).await;
    late.send(0, crate::tests::peer::start_ok("guest", "guest")).await;
    let tune = late.expect::<connection::Tune>(0).await;
    let (channel_max, frame_max) = (tune.channel_max, tune.frame_max);
    late.send(0, connection::TuneOk { channel_max, frame_max, heartbeat: 0 }).await;
    late.send(0, connection::Open { virtual_host: short("/"), ..Default::default() }).await;
    assert_eq!(late.expect::<connection::Close>(0).await.reply_code, 320);
    backend.recover();
    Peer::open(&broker).await;
}

#[tokio::test]
async fn content_out_of_place_and_what_is_too_large_are_refused() {
    let broker = Broker::builder().backend("/", InMemory::default()).max_message_size(10).build();
    let mut peer = Peer::open(&broker).await;
    peer.publish("", "q", "twelve bytes").await;
    let (code, text) = closed(&mut peer).await;
    assert_eq!(code, 406, "{text}");
    peer.call(1, channel::Open::default()).await;
    peer.frame(&Frame::Body(1, bytes::Bytes::from_static(b"x"))).await;
    assert_eq!(peer.expect::<connection::Close>(0).await.reply_code, 505);
}

#[tokio::test]
async fn a_shutdown_closes_the_connection() {
    let (_, broker) = gateway();
    let mut peer = Peer::open(&broker).await;
    let ends = tokio::spawn(async move { broker.shutdown().await });
    assert_eq!(peer.expect::<connection::Close>(0).await.reply_code, 320);
    peer.send(0, connection::CloseOk {}).await;
    assert_eq!(peer.next().await, None);
    ends.await.unwrap();
}
