//! The faults that tests can inject.

use std::time::Duration;

use amqp_codec::{
    Frame,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, confirm, connection, queue},
};
use tokio::time::Instant;

use crate::{
    broker::{Broker, Listener},
    faults::plan::Direction,
    tests::peer::{FRAME_MAX, Peer, short},
};

fn broker() -> Broker {
    Broker::builder().build()
}

/// Two clients: one in memory and one over TCP.
async fn both(broker: &Broker) -> ([Peer; 2], Listener) {
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let tcp = Peer::silent_at(&listener.local_addr().to_string()).await;
    ([Peer::silent(broker), tcp], listener)
}

async fn in_confirm_mode(broker: &Broker) -> Peer {
    let mut peer = Peer::open(broker).await;
    peer.call(1, confirm::Select::default()).await;
    peer.declare("q").await;
    peer
}

async fn acked(peer: &mut Peer) -> (u64, bool) {
    let ack = peer.expect::<basic::Ack>(1).await;
    (ack.delivery_tag, ack.multiple)
}

#[tokio::test]
async fn dropped_connections_end_without_a_word_and_later_ones_are_served() {
    let broker = broker();
    let (mut peers, _listener) = both(&broker).await;
    for peer in &mut peers {
        peer.log_in("/", FRAME_MAX as u32).await;
    }
    let mut silent = Peer::silent(&broker);
    broker.faults().drop_connections();
    assert_eq!(silent.rest().await, b"");
    for mut peer in peers {
        assert_eq!(peer.next().await, None);
    }
    Peer::open(&broker).await;
}

#[tokio::test]
async fn one_connection_is_dropped_and_another_is_not() {
    let broker = broker();
    let (mut first, mut second) = (Peer::open(&broker).await, Peer::open(&broker).await);
    let id = broker.connections()[0].id;
    assert!(broker.faults().drop_connection(id));
    assert_eq!(first.next().await, None);
    second.settle_down().await;
    assert!(!broker.faults().drop_connection(id));
}

#[tokio::test]
async fn a_connection_ends_at_a_frame_of_the_clients_and_what_came_before_is_done() {
    let broker = broker();
    // The frames are start-ok, tune-ok, open, channel.open and declare, and then three a publish.
    broker.faults().drop_at_frame(Direction::In, 5 + 3 + 3);
    broker.faults().drop_at_frame(Direction::In, 4);
    let mut first = Peer::silent(&broker);
    first.log_in("/", FRAME_MAX as u32).await;
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let mut second = Peer::silent_at(&listener.local_addr().to_string()).await;
    second.log_in("/", FRAME_MAX as u32).await;
    first.call(1, channel::Open::default()).await;
    first.declare("q").await;
    first.publish("", "q", "whole").await;
    first.publish("", "q", "without its end").await;
    assert_eq!(first.next().await, None);
    second.send(1, channel::Open::default()).await;
    assert_eq!(second.next().await, None);
    let mut third = Peer::open(&broker).await;
    assert_eq!(third.bodies("q").await, ["whole"]);
}

#[tokio::test]
async fn a_connection_ends_at_a_frame_of_the_brokers_which_does_not_arrive() {
    let broker = broker();
    let mut publisher = in_confirm_mode(&broker).await;
    // The frames are start, tune, open-ok, channel.open-ok and consume-ok, and then two of a
    // delivery's three.
    broker.faults().drop_at_frame(Direction::Out, 5 + 3);
    let mut peer = Peer::open(&broker).await;
    peer.consume("q", "t").await;
    publisher.publish("", "q", "cut off").await;
    assert_eq!(acked(&mut publisher).await, (1, false));
    peer.expect::<basic::Deliver>(1).await;
    assert!(matches!(peer.next().await, Some(Frame::Header(1, _))));
    assert_eq!(peer.next().await, None);
    // It was delivered and not acknowledged, so it is delivered again.
    publisher.consume("q", "t").await;
    assert_eq!(publisher.delivery().await, (1, true, "cut off".to_owned()));
}

#[tokio::test]
async fn connections_are_refused_a_number_of_times_and_then_served() {
    let broker = broker();
    broker.faults().refuse_connections(2);
    let (peers, _listener) = both(&broker).await;
    for mut peer in peers {
        assert_eq!(peer.rest().await, b"");
    }
    assert!(broker.connections().is_empty());
    Peer::open(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn connections_are_refused_for_a_while_of_the_clock_that_is_paused() {
    let broker = broker();
    broker.faults().refuse_connections_for(Duration::from_secs(60));
    assert_eq!(Peer::silent(&broker).rest().await, b"");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(Peer::silent(&broker).rest().await, b"");
    tokio::time::advance(Duration::from_secs(1)).await;
    Peer::open(&broker).await;
}

#[tokio::test]
async fn the_next_publishes_are_nacked_and_are_in_no_queue() {
    let broker = broker();
    let mut peer = in_confirm_mode(&broker).await;
    let mut plain = Peer::open(&broker).await;
    broker.faults().nack_publishes(2);
    plain.publish("", "q", "without confirms").await;
    plain.settle_down().await;
    for tag in 1..=2 {
        peer.publish("", "q", "nacked").await;
        let nack = peer.expect::<basic::Nack>(1).await;
        assert_eq!((nack.delivery_tag, nack.multiple), (tag, false));
    }
    peer.publish("", "q", "fine").await;
    assert_eq!(acked(&mut peer).await, (3, false));
    assert_eq!(plain.bodies("q").await, ["without confirms", "fine"]);
}

#[tokio::test]
async fn the_next_mandatory_publish_is_returned_and_then_confirmed() {
    let broker = broker();
    let mut peer = in_confirm_mode(&broker).await;
    broker.faults().return_publishes(1);
    peer.publish_with("", "q", Default::default(), false, b"not mandatory").await;
    assert_eq!(acked(&mut peer).await, (1, false));
    peer.publish("", "q", "returned").await;
    let came = peer.expect_content::<basic::Return>().await;
    assert_eq!((came.method.reply_code, &came.body[..]), (312, &b"returned"[..]));
    assert_eq!(acked(&mut peer).await, (2, false));
    peer.publish("", "q", "fine").await;
    assert_eq!(acked(&mut peer).await, (3, false));
    assert_eq!(peer.bodies("q").await, ["not mandatory", "fine"]);
}

#[tokio::test]
async fn swallowed_confirms_are_covered_by_no_later_one() {
    let broker = broker();
    let mut peer = in_confirm_mode(&broker).await;
    broker.faults().swallow_confirms(2);
    let mut frames = Vec::new();
    for body in ["1", "2", "3", "4"] {
        frames.extend(crate::tests::steps::publish("", "q", &Default::default()).map(|frame| match frame {
            Frame::Body(number, _) => Frame::Body(number, body.into()),
            other => other,
        }));
    }
    for frame in &frames {
        peer.frame(frame).await;
    }
    assert_eq!([acked(&mut peer).await, acked(&mut peer).await], [(3, false), (4, false)]);
    assert_eq!(peer.bodies("q").await, ["1", "2", "3", "4"]);
    broker.faults().swallow_confirms(1);
    broker.faults().nack_publishes(1);
    peer.publish("", "q", "its nack is swallowed").await;
    peer.settle_down().await;
    peer.publish("", "q", "fine").await;
    assert_eq!(acked(&mut peer).await, (6, false));
}

#[tokio::test]
async fn publishers_are_blocked_from_their_next_publish_on_and_consumers_are_not() {
    let broker = broker();
    let mut publisher = in_confirm_mode(&broker).await;
    let mut consumer = Peer::open(&broker).await;
    consumer.consume("q", "t").await;
    broker.faults().block("low on memory");
    publisher.settle_down().await;
    publisher.publish("", "q", "waits").await;
    assert_eq!(publisher.expect::<connection::Blocked>(0).await.reason.to_text(), "low on memory");
    // This connection is not read, others are.
    publisher.send(1, basic::Qos::default()).await;
    consumer.settle_down().await;
    assert_eq!(broker.queue("/", "q").unwrap().ready, 0);
    broker.faults().unblock();
    publisher.expect::<connection::Unblocked>(0).await;
    assert_eq!(consumer.delivery().await, (1, false, "waits".to_owned()));
    let mut answers = Vec::new();
    for _ in 0..2 {
        let Some(Frame::Method(1, method)) = publisher.next().await else { panic!("no answer") };
        answers.push(method.id().name());
    }
    answers.sort_unstable();
    assert_eq!(answers, [Some("basic.ack"), Some("basic.qos-ok")]);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_client_is_not_taken_for_dead_and_can_be_closed() {
    let broker = Broker::builder().heartbeat(Duration::from_secs(2)).build();
    let mut peer = Peer::silent(&broker);
    peer.log_in_with_heartbeat(2).await;
    peer.call(1, channel::Open::default()).await;
    broker.faults().block("for a while");
    peer.publish("", "q", "held").await;
    peer.expect::<connection::Blocked>(0).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let id = broker.connections()[0].id;
    assert!(broker.faults().close_connection(id, 320, "CONNECTION_FORCED - enough"));
    let close = peer.expect::<connection::Close>(0).await;
    assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (320, "CONNECTION_FORCED - enough"));
    peer.send(0, connection::CloseOk {}).await;
    assert_eq!(peer.next().await, None);
    // Another connection takes its slot, and was never sent `blocked`.
    let mut other = Peer::open(&broker).await;
    broker.faults().unblock();
    other.settle_down().await;
}

#[tokio::test(start_paused = true)]
async fn answers_are_delayed_by_the_clock_that_is_paused() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    let began = Instant::now();
    peer.settle_down().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    broker.faults().delay_answers(Duration::from_secs(5));
    peer.settle_down().await;
    assert!(began.elapsed() >= Duration::from_secs(5));
    broker.faults().clear();
    let began = Instant::now();
    peer.settle_down().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn consumers_are_cancelled_by_queue_and_by_tag_and_told() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.consume("q", "a").await;
    peer.consume("q", "b").await;
    assert_eq!(broker.faults().cancel_consumers("/", "q", Some("b")), 1);
    assert_eq!(peer.expect::<basic::Cancel>(1).await.consumer_tag.to_text(), "b");
    assert_eq!(broker.faults().cancel_consumers("/", "nope", None), 0);
    assert_eq!(broker.faults().cancel_consumers("/", "q", None), 1);
    assert_eq!(peer.expect::<basic::Cancel>(1).await.consumer_tag.to_text(), "a");
    assert_eq!(broker.queue("/", "q").unwrap().consumers, 0);
    peer.consume("q", "a").await;
}

#[tokio::test]
async fn a_channel_is_closed_with_any_code_and_text() {
    let broker = broker();
    let mut peer = in_confirm_mode(&broker).await;
    let id = broker.connections()[0].id;
    assert!(broker.faults().close_channel(id, 9, 404, "no such channel"));
    assert!(broker.faults().close_channel(id, 1, 406, "PRECONDITION_FAILED - because"));
    let close = peer.expect::<channel::Close>(1).await;
    assert_eq!(
        (close.reply_code, close.reply_text.to_text().as_ref()),
        (406, "PRECONDITION_FAILED - because")
    );
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
    assert!(!broker.faults().close_channel(id + 1, 1, 406, ""));
}

#[tokio::test]
async fn a_queue_is_deleted_from_outside_and_its_consumers_are_told() {
    let broker = broker();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "lost").await;
    peer.settle_down().await;
    peer.declare("used").await;
    peer.consume("used", "t").await;
    assert_eq!(broker.faults().delete_queue("/", "q"), Some(1));
    assert_eq!(broker.faults().delete_queue("/", "q"), None);
    assert_eq!(broker.faults().delete_queue("/", "used"), Some(0));
    assert_eq!(peer.expect::<basic::Cancel>(1).await.consumer_tag.to_text(), "t");
    peer.send(1, queue::Declare { queue: short("q"), passive: true, ..Default::default() }).await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 404);
}

#[tokio::test]
async fn nothing_goes_wrong_after_it_was_cleared() {
    let broker = broker();
    let faults = broker.faults();
    faults.drop_at_frame(Direction::Out, 1);
    faults.refuse_connections(u64::MAX);
    faults.nack_publishes(u64::MAX);
    faults.return_publishes(u64::MAX);
    faults.swallow_confirms(u64::MAX);
    faults.block("no");
    faults.clear();
    let mut peer = in_confirm_mode(&broker).await;
    peer.publish("", "q", "fine").await;
    assert_eq!(acked(&mut peer).await, (1, false));
    let mut silent = Peer::silent(&broker);
    silent.raw(&PROTOCOL_HEADER).await;
    silent.expect::<connection::Start>(0).await;
}
