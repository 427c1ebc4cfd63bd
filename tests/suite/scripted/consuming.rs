//! Deliveries, consumers and acks.

use std::collections::BTreeSet;

use amqp_client::{Consumer, Delivery, Error};
use amqp_codec::{
    Frame, Method, Properties,
    method::{basic, channel, queue},
};
use futures_util::{FutureExt as _, TryStreamExt as _};
use proptest::prelude::*;
use tests::Peer;
use tokio::join;

use super::{all_idle, consumer, deliver, ends, error, opened, publisher, send_deliveries, session, short};

async fn next(consumer: &mut Consumer) -> Delivery {
    ends(consumer.recv()).await.unwrap().unwrap()
}

fn ack(delivery_tag: u64, multiple: bool) -> basic::Ack {
    basic::Ack { delivery_tag, multiple }
}

fn given_back(delivery_tag: u64) -> basic::Nack {
    basic::Nack { delivery_tag, multiple: false, requeue: true }
}

fn cancel(tag: &'static str) -> basic::Cancel {
    basic::Cancel { consumer_tag: short(tag), no_wait: false }
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_one_read_go_to_their_consumers_in_order() {
    let (mut peer, _connection, channel) = session().await;
    let mut odd = consumer(&mut peer, &channel, "odd").await;
    let mut even = consumer(&mut peer, &channel, "even").await;
    let frames = (1..=200).flat_map(|tag| {
        let to = if tag % 2 == 1 { "odd" } else { "even" };
        tests::peer::content(1, deliver(to, tag), &Properties::default(), tag.to_string(), 131_072)
    });
    peer.send_frames(frames.collect()).await;
    for tag in (1..=200).step_by(2) {
        let (first, second) = (next(&mut odd).await, next(&mut even).await);
        assert_eq!((first.delivery_tag(), second.delivery_tag()), (tag, tag + 1));
        assert_eq!(first.body(), tag.to_string().as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_cut_at_any_byte_arrives_whole() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let properties = Properties { priority: Some(3), message_id: Some(short("m")), ..Default::default() };
    let mut tag = 1;
    let mut cut = 0;
    loop {
        let method = basic::Deliver { redelivered: true, exchange: short("events"), ..deliver("c", tag) };
        let mut bytes = bytes::BytesMut::new();
        for frame in tests::peer::content(1, method, &properties, "in three parts", 14) {
            frame.encode(4096, &mut bytes).unwrap();
        }
        if cut > bytes.len() {
            break;
        }
        let second = bytes.split_off(cut);
        peer.send_bytes(bytes).await;
        all_idle().await;
        peer.send_bytes(second).await;
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.delivery_tag(), delivery.redelivered()), (tag, true));
        assert_eq!((delivery.exchange(), delivery.routing_key()), ("events".into(), "jobs".into()));
        assert_eq!(delivery.body(), "in three parts");
        assert_eq!(delivery.properties().unwrap(), properties);
        tag += 1;
        cut += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn contents_of_two_channels_may_be_interleaved_frame_by_frame() {
    let (mut peer, connection, first) = session().await;
    let second = opened(&mut peer, &connection, 2).await;
    let (mut one, mut two) =
        (consumer(&mut peer, &first, "c").await, consumer(&mut peer, &second, "c").await);
    let content =
        |channel, body| tests::peer::content(channel, deliver("c", 1), &Properties::default(), body, 10);
    let frames = content(1, "first").into_iter().zip(content(2, "other")).flat_map(|(a, b)| [a, b]);
    peer.send_frames(frames.collect()).await;
    assert_eq!(next(&mut one).await.body(), "first");
    assert_eq!(next(&mut two).await.body(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_the_broker_cancels_gets_what_was_sent_and_then_the_reason() {
    for no_wait in [true, false] {
        let (mut peer, _connection, channel) = session().await;
        let mut consumer = consumer(&mut peer, &channel, "c").await;
        send_deliveries(&mut peer, "c", [1, 2]).await;
        peer.send(1, basic::Cancel { no_wait, ..cancel("c") }).await;
        if !no_wait {
            peer.expect(1, basic::CancelOk { consumer_tag: short("c") }).await;
        }
        assert_eq!(next(&mut consumer).await.delivery_tag(), 1);
        assert_eq!(next(&mut consumer).await.delivery_tag(), 2);
        let reason = error(ends(consumer.try_next()).await);
        assert!(matches!(&reason, Error::ConsumerCancelled { tag } if tag == "c"), "{reason}");
        assert!(ends(consumer.recv()).await.is_none());
        assert!(channel.is_open());
        let (purged, ()) = join!(channel.purge("jobs"), async {
            peer.expect_any::<queue::Purge>(1).await;
            peer.send(1, queue::PurgeOk { message_count: 0 }).await;
        });
        purged.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_cancelled_by_its_user_ends_without_a_reason_after_the_last_delivery() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let (cancelled, ()) = join!(consumer.cancel(), async {
        peer.expect(1, cancel("c")).await;
        send_deliveries(&mut peer, "c", [1]).await;
        peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
    });
    cancelled.unwrap();
    assert_eq!(next(&mut consumer).await.delivery_tag(), 1);
    assert!(ends(consumer.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_consumer_is_cancelled_and_what_it_did_not_hand_out_goes_back() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1, 2, 3]).await;
    let kept = next(&mut consumer).await;
    send_deliveries(&mut peer, "c", [4]).await;
    all_idle().await;
    drop(consumer);
    let mut back = BTreeSet::new();
    for _ in 0..3 {
        let nack: basic::Nack = peer.expect_any(1).await;
        assert!(nack.requeue && !nack.multiple);
        back.insert(nack.delivery_tag);
    }
    assert_eq!(back, BTreeSet::from([2, 3, 4]));
    peer.expect(1, cancel("c")).await;
    // This delivery was on its way when the cancel was sent.
    send_deliveries(&mut peer, "c", [5]).await;
    peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
    peer.expect(1, given_back(5)).await;
    kept.ack().await.unwrap();
    peer.expect(1, ack(1, false)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_cancelled_consumer_has_not_handed_out_goes_back_when_it_is_dropped() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1, 2]).await;
    let (cancelled, ()) = join!(consumer.cancel(), async {
        peer.expect(1, cancel("c")).await;
        peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
    });
    cancelled.unwrap();
    drop(consumer);
    peer.expect(1, given_back(1)).await;
    peer.expect(1, given_back(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_of_acks_leaves_as_one_and_covers_nothing_else() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", 1..=6).await;
    let mut deliveries = Vec::new();
    for _ in 0..6 {
        deliveries.push(Some(next(&mut consumer).await));
    }
    // They are acknowledged between two turns of the driver.
    for index in [0, 1, 2, 4] {
        deliveries[index].take().unwrap().ack().now_or_never().unwrap().unwrap();
    }
    peer.expect(1, ack(3, true)).await;
    peer.expect(1, ack(5, false)).await;
    for index in [3, 5] {
        deliveries[index].take().unwrap().ack().now_or_never().unwrap().unwrap();
    }
    peer.expect(1, ack(6, true)).await;
}

#[tokio::test(start_paused = true)]
async fn acks_nacks_and_other_frames_leave_in_the_order_of_the_calls() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", 1..=4).await;
    let first = next(&mut consumer).await;
    first.ack().await.unwrap();
    let _confirm = publisher.publish(("", "answers"), amqp_client::Message::new("")).await.unwrap();
    next(&mut consumer).await.nack(false).await.unwrap();
    next(&mut consumer).await.reject(true).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    peer.expect(1, ack(1, false)).await;
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 0).await;
    peer.expect(1, basic::Nack { requeue: false, ..given_back(2) }).await;
    peer.expect(1, basic::Reject { delivery_tag: 3, requeue: true }).await;
    let last: basic::Ack = peer.expect_any(1).await;
    assert_eq!(last.delivery_tag, 4);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_delivery_is_neither_acked_nor_given_back() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", 1..=3).await;
    drop(next(&mut consumer).await);
    next(&mut consumer).await.ack().await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    let mut acked = BTreeSet::new();
    while acked.len() < 2 {
        let ack: basic::Ack = peer.expect_any(1).await;
        assert!(!ack.multiple, "an ack of several would cover the dropped one");
        acked.insert(ack.delivery_tag);
    }
    assert_eq!(acked, BTreeSet::from([2, 3]));
}

#[tokio::test(start_paused = true)]
async fn acks_wait_for_company_only_a_moment_and_leave_before_a_close() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", 1..=3).await;
    next(&mut consumer).await.ack().await.unwrap();
    peer.expect(1, ack(1, false)).await;
    // From now on acks gather, but a close sends them first.
    next(&mut consumer).await.ack().await.unwrap();
    let (closed, ()) = join!(channel.close(), async {
        peer.expect(1, ack(2, false)).await;
        peer.expect_any::<channel::Close>(1).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    closed.unwrap();
    let late = next(&mut consumer).await;
    let refused = error(late.ack().await);
    assert!(matches!(refused, Error::ChannelEnded { channel: 1 }), "{refused}");
}

/// What the user does with an unsettled delivery, or the broker's turn.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver,
    Ack(usize),
    Nack(usize),
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Deliver),
        4 => any::<usize>().prop_map(Step::Ack),
        1 => any::<usize>().prop_map(Step::Nack),
        1 => Just(Step::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_broker_hears_of_each_delivery_what_the_user_said(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(settle_as(steps));
    }
}

async fn settle_as(steps: Vec<Step>) {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let mut held = Vec::new();
    let (mut acked, mut nacked) = (BTreeSet::new(), BTreeSet::new());
    let mut last = 0;
    for step in steps {
        match step {
            Step::Deliver => {
                last += 1;
                send_deliveries(&mut peer, "c", [last]).await;
                held.push(next(&mut consumer).await);
            }
            Step::Ack(choice) if !held.is_empty() => {
                let delivery = held.swap_remove(choice % held.len());
                acked.insert(delivery.delivery_tag());
                delivery.ack().await.unwrap();
            }
            Step::Nack(choice) if !held.is_empty() => {
                let delivery = held.swap_remove(choice % held.len());
                nacked.insert(delivery.delivery_tag());
                delivery.nack(true).await.unwrap();
            }
            Step::Pause => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
            Step::Ack(_) | Step::Nack(_) => {}
        }
    }
    let (closed, heard) = join!(channel.close(), heard(&mut peer, last));
    closed.unwrap();
    assert_eq!(heard, (acked, nacked));
}

/// The deliveries that a strict broker takes as acked and as nacked, up to the channel's close.
async fn heard(peer: &mut Peer, last: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let mut unsettled: BTreeSet<u64> = (1..=last).collect();
    let (mut acked, mut nacked) = (BTreeSet::new(), BTreeSet::new());
    loop {
        match peer.receive().await {
            Frame::Method(1, Method::Basic(basic::Method::Ack(ack))) => {
                assert!(unsettled.contains(&ack.delivery_tag), "unknown delivery tag {}", ack.delivery_tag);
                let covered: BTreeSet<_> = unsettled
                    .iter()
                    .copied()
                    .filter(|&tag| tag == ack.delivery_tag || (ack.multiple && tag < ack.delivery_tag))
                    .collect();
                unsettled.retain(|tag| !covered.contains(tag));
                acked.extend(covered);
            }
            Frame::Method(1, Method::Basic(basic::Method::Nack(nack))) => {
                assert!(!nack.multiple && unsettled.remove(&nack.delivery_tag), "{nack:?}");
                nacked.insert(nack.delivery_tag);
            }
            Frame::Method(1, Method::Channel(channel::Method::Close(_))) => break,
            other => panic!("{other:?}"),
        }
    }
    peer.send(1, channel::CloseOk {}).await;
    (acked, nacked)
}
