//! Limits, and the refusals beyond them.

use std::time::Duration;

use amqp_codec::{
    ContentHeader, Frame, Method, Properties,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};

use crate::{
    broker::Broker,
    tests::{
        peer::{FRAME_MAX, Peer, short, start_ok},
        steps::{Closed, on, outcome, publish, queue as declared, table},
    },
};

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
    // Each virtual host counts separately.
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
    assert_eq!((close.class_id, close.method_id), (0, 0), "RabbitMQ blames no method");
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
    // Declaring what exists does not count.
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

/// The memory limit of the broker in these tests.
const MEMORY: u64 = 4 << 20;

/// A publish to `q` with this body size, of which only so many parts of 100,000 octets are sent.
fn publish_in_part(announced: u64, parts: usize) -> Vec<Frame> {
    let publish = basic::Publish { routing_key: short("q"), ..Default::default() };
    let properties = Properties::default().encode().unwrap();
    let header = ContentHeader { class_id: 60, body_size: announced, properties };
    let part = || Frame::Body(1, vec![0; 100_000].into());
    let head = [on(publish), Frame::Header(1, header)];
    head.into_iter().chain(std::iter::repeat_with(part).take(parts)).collect()
}

async fn send_all(peer: &mut Peer, frames: impl IntoIterator<Item = Frame>) {
    for frame in frames {
        peer.frame(&frame).await;
    }
}

/// Sends until the broker does not read any more.
async fn send_until_held(peer: &mut Peer, frames: Vec<Frame>) {
    let sent = tokio::time::timeout(Duration::from_secs(1), send_all(peer, frames)).await;
    assert!(sent.is_err(), "all was read");
}

/// The frames of a client that publishes a body of so many octets and expects confirms.
async fn publishes(peer: &mut Peer, octets: usize) {
    peer.publish_with("", "q", Properties::default(), false, &vec![0; octets]).await;
    peer.expect::<basic::Ack>(1).await;
}

#[tokio::test]
async fn a_body_larger_than_all_memory_is_refused_before_it_comes() {
    let broker = Broker::builder().memory_limit(MEMORY).build();
    let mut peer = Peer::open(&broker).await;
    send_all(&mut peer, publish_in_part(MEMORY + 1, 0)).await;
    let close = peer.expect::<connection::Close>(0).await;
    let text = "RESOURCE_ERROR - a body is larger than the memory limit (4194304 bytes)";
    assert_eq!((close.reply_code, close.reply_text.as_bytes()), (506, text.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn who_has_begun_more_than_its_share_is_closed_when_it_gets_nowhere_and_nobody_else() {
    let broker = Broker::builder().memory_limit(MEMORY).stall_timeout(Duration::from_secs(20)).build();
    let mut hoarders = [Peer::open(&broker).await, Peer::open(&broker).await];
    for hoarder in &mut hoarders {
        send_until_held(hoarder, publish_in_part(3_000_000, 29)).await;
    }
    let mut other = Peer::open(&broker).await;
    other.call(1, confirm::Select::default()).await;
    publishes(&mut other, 300_000).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(broker.connections().len(), 3);
    tokio::time::sleep(Duration::from_secs(20)).await;
    // The first one's end frees enough for the second to continue.
    assert_eq!(hoarders[0].expect::<connection::Close>(0).await.reply_code, 506);
    publishes(&mut other, 300_000).await;
    assert_eq!(broker.connections().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn replies_that_nobody_reads_take_no_more_than_connections_may_hold() {
    let broker = Broker::builder().memory_limit(MEMORY).build();
    let mut server = Peer::open(&broker).await;
    server.declare("asked").await;
    let replies = short("amq.rabbitmq.reply-to");
    let mut deaf = Vec::new();
    for _ in 0..30 {
        let mut client = Peer::open(&broker).await;
        let listen = basic::Consume { queue: replies.clone(), no_ack: true, ..Default::default() };
        client.call(1, listen).await;
        let asking = Properties { reply_to: Some(replies.clone()), ..Default::default() };
        client.publish_with("", "asked", asking, false, b"?").await;
        deaf.push(client);
    }
    let consume = basic::Consume { queue: short("asked"), no_ack: true, ..Default::default() };
    server.call(1, consume).await;
    let mut names = Vec::new();
    for _ in 0..30 {
        names.push(server.came().await.properties().reply_to.unwrap().to_string());
    }
    for _ in 0..5 {
        for name in &names {
            server.publish_with("", name, Properties::default(), false, &vec![0; 100_000]).await;
        }
    }
    server.settle_down().await;
    let held =
        broker.inner.hosts().iter().map(|host| host.with(|_, shared| shared.holdings.total())).max().unwrap();
    // Connections may hold half of the memory, since nothing is queued, and the server's current
    // read with its remainder.
    assert!(held < MEMORY / 2 + (512 << 10), "{held}");
}

#[tokio::test(start_paused = true)]
async fn transactions_are_limited_too_and_make_room_when_they_end() {
    let broker = Broker::builder().memory_limit(MEMORY).stall_timeout(Duration::from_secs(20)).build();
    let whole = |count| (0..count).flat_map(|_| publish_in_part(100_000, 1)).collect::<Vec<_>>();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(1, tx::Select {}).await;
    for _ in 0..10 {
        send_all(&mut peer, whole(15)).await;
        peer.call(1, tx::Rollback {}).await;
    }
    for _ in 0..10 {
        send_all(&mut peer, whole(15)).await;
        peer.call(1, tx::Commit {}).await;
        peer.call(1, queue::Purge { queue: short("q"), ..Default::default() }).await;
    }
    // A stalled connection is closed after a while.
    send_until_held(&mut peer, whole(60)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    loop {
        match peer.next().await {
            Some(Frame::Method(0, Method::Connection(connection::Method::Close(close)))) => {
                assert_eq!(close.reply_code, 506);
                break;
            }
            Some(Frame::Method(0, Method::Connection(connection::Method::Blocked(_)))) => {}
            other => panic!("neither blocked nor closed: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_what_it_asked_for_is_closed_when_memory_is_short_and_nobody_else() {
    let broker = Broker::builder().memory_limit(MEMORY).stall_timeout(Duration::from_secs(20)).build();
    let mut other = Peer::open(&broker).await;
    other.call(1, confirm::Select::default()).await;
    other.declare("q").await;
    let mut lazy = Vec::new();
    for _ in 0..8 {
        let mut peer = Peer::open(&broker).await;
        peer.send(1, basic::Consume { queue: short("q"), no_ack: true, ..Default::default() }).await;
        lazy.push(peer);
    }
    // The deliveries to clients that do not read wait; they exceed what all connections may hold.
    for _ in 0..200 {
        let sent = other.publish_with("", "q", Properties::default(), false, &[0; 30_000]);
        if tokio::time::timeout(Duration::from_secs(60), sent).await.is_err() {
            panic!("nobody makes room");
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(broker.connections().len() < 9);
    assert!(broker.connections().iter().any(|connection| connection.name == "memory:1"));
}

/// Sends two clients more than they may leave unread, then lets each read so many octets every five
/// seconds. Returns how many clients are connected after some minutes.
async fn left_of_two_who_read(octets: usize) -> usize {
    let broker = Broker::builder().memory_limit(3 << 20).stall_timeout(Duration::from_secs(20)).build();
    let mut other = Peer::open(&broker).await;
    other.declare("q").await;
    let mut slow = [Peer::open(&broker).await, Peer::open(&broker).await];
    for peer in &mut slow {
        peer.send(1, basic::Consume { queue: short("q"), no_ack: true, ..Default::default() }).await;
    }
    for _ in 0..80 {
        other.publish_with("", "q", Properties::default(), false, &[0; 30_000]).await;
    }
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        for peer in &mut slow {
            peer.sip(octets).await;
        }
    }
    broker.connections().len()
}

#[tokio::test(start_paused = true)]
async fn who_reads_steadily_is_not_closed_and_who_reads_an_octet_now_and_then_is() {
    assert_eq!(left_of_two_who_read(32 << 10).await, 3);
    assert_eq!(left_of_two_who_read(1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_to_who_has_begun_too_much_are_no_progress() {
    let broker = Broker::builder().memory_limit(MEMORY).stall_timeout(Duration::from_secs(20)).build();
    let mut hoarder = Peer::silent(&broker);
    hoarder.log_in_with_heartbeat(1).await;
    hoarder.call(1, channel::Open::default()).await;
    send_until_held(&mut hoarder, publish_in_part(3_000_000, 29)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(hoarder.expect::<connection::Close>(0).await.reply_code, 506);
}

#[tokio::test]
async fn a_declaration_or_binding_beyond_the_memory_is_refused() {
    let broker = Broker::builder().memory_limit(MEMORY).build();
    let mut peer = Peer::open(&broker).await;
    let mut number = 0;
    let close = loop {
        let arguments = table([("x", "y".repeat(30_000).into())]);
        let queue = short(&number.to_string());
        peer.send(1, queue::Declare { queue, arguments, ..Default::default() }).await;
        match peer.next().await {
            Some(Frame::Method(1, Method::Channel(channel::Method::Close(close)))) => break close,
            Some(_) => number += 1,
            None => panic!("the connection is closed"),
        }
    };
    assert!((10..100).contains(&number), "{number}");
    let text = "PRECONDITION_FAILED - memory limit in vhost '/' (4194304 bytes) is reached";
    assert_eq!((close.reply_code, close.reply_text.as_bytes()), (406, text.as_bytes()));
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
    peer.call(1, queue::Delete { queue: short("0"), ..Default::default() }).await;
    peer.declare("small").await;
}

/// Publishes until the broker blocks; returns how many were confirmed.
pub(super) async fn publish_until_blocked(peer: &mut Peer, properties: &Properties, body: &[u8]) -> usize {
    let mut confirmed = 0;
    loop {
        peer.publish_with("", "q", properties.clone(), false, body).await;
        match peer.next().await {
            Some(Frame::Method(1, _)) => confirmed += 1,
            Some(Frame::Method(0, method)) => {
                assert_eq!(method.id().name(), Some("connection.blocked"));
                return confirmed;
            }
            other => panic!("neither a confirm nor blocked: {other:?}"),
        }
        assert!(confirmed <= 50, "nothing held it back");
    }
}

#[tokio::test]
async fn headers_take_memory_as_bodies_do() {
    let broker = Broker::builder().memory_limit(MEMORY).build();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.call(1, confirm::Select::default()).await;
    let headers = Some(table([("large", "x".repeat(100_000).into())]));
    let properties = Properties { headers, ..Default::default() };
    let confirmed = publish_until_blocked(&mut peer, &properties, b"").await;
    assert!((30..=41).contains(&confirmed), "{confirmed}");
    assert_eq!(broker.queue("/", "q").unwrap().ready, confirmed);
}

#[tokio::test]
async fn publishers_are_blocked_at_the_memory_limit_until_consumers_have_made_room() {
    let broker = Broker::builder().memory_limit(MEMORY).build();
    let mut publisher = Peer::open(&broker).await;
    publisher.call(1, confirm::Select::default()).await;
    publisher.declare("q").await;
    let confirmed = publish_until_blocked(&mut publisher, &Properties::default(), &[0; 100_000]).await;
    assert!((30..=41).contains(&confirmed), "{confirmed}");
    // A client that only consumes continues, and its acknowledgements make room.
    let mut consumer = Peer::open(&broker).await;
    consumer.consume("q", "t").await;
    for _ in 0..confirmed {
        consumer.expect_content::<basic::Deliver>().await;
    }
    consumer.settle_down().await;
    assert_eq!(broker.connections()[0].state, crate::broker::inspection::ConnectionState::Blocked);
    consumer.send(1, basic::Ack { delivery_tag: 20, multiple: true }).await;
    publisher.expect::<connection::Unblocked>(0).await;
    publisher.expect::<basic::Ack>(1).await;
    consumer.expect_content::<basic::Deliver>().await;
}

#[tokio::test]
async fn a_virtual_host_that_is_full_blocks_its_own_publishers_only() {
    let broker = Broker::builder().vhost("a").vhost("b").memory_limit(2 * MEMORY).build();
    let mut full = Peer::greet(&broker, "a", FRAME_MAX as u32).await;
    let mut other = Peer::greet(&broker, "b", FRAME_MAX as u32).await;
    for peer in [&mut full, &mut other] {
        peer.call(1, channel::Open::default()).await;
        peer.declare("q").await;
        peer.call(1, confirm::Select::default()).await;
    }
    let confirmed = publish_until_blocked(&mut full, &Properties::default(), &[0; 100_000]).await;
    assert!((30..=41).contains(&confirmed), "a half of it is its own: {confirmed}");
    for _ in 0..20 {
        publishes(&mut other, 100_000).await;
    }
}

#[tokio::test]
async fn messages_that_expire_or_are_purged_make_room_too() {
    for expiring in [true, false] {
        let broker = Broker::builder().memory_limit(MEMORY).build();
        let mut publisher = Peer::open(&broker).await;
        publisher.declare("q").await;
        publisher.call(1, confirm::Select::default()).await;
        let expiration = expiring.then(|| short("2000"));
        let properties = Properties { expiration, ..Default::default() };
        publish_until_blocked(&mut publisher, &properties, &[0; 100_000]).await;
        if !expiring {
            let mut other = Peer::open(&broker).await;
            other.call(1, queue::Purge { queue: short("q"), ..Default::default() }).await;
        }
        publisher.expect::<connection::Unblocked>(0).await;
        publisher.expect::<basic::Ack>(1).await;
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
