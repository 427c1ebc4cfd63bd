//! The draining of one consumer: no more is sent, what has arrived is handed out, and what was
//! handed out is waited for.

use std::time::Duration;

use amqp_client::{Error, ReplyCode};
use amqp_codec::method::{basic, channel, connection, queue};
use futures_util::FutureExt as _;
use tests::Peer;
use tokio::{join, time::Instant};

use super::{all_idle, consumer, ends, error, send_deliveries, session, short};

const PATIENCE: Duration = Duration::from_secs(60);

async fn agree_to_cancel(peer: &mut Peer, tag: &'static str) {
    peer.expect(1, basic::Cancel { consumer_tag: short(tag), no_wait: false }).await;
    peer.send(1, basic::CancelOk { consumer_tag: short(tag) }).await;
}

#[tokio::test(start_paused = true)]
async fn what_arrived_is_handed_out_and_what_was_handed_out_is_waited_for() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1, 2]).await;
    let before = ends(consumer.recv()).await.unwrap().unwrap();
    let mut drain = consumer.drain(PATIENCE);
    // This was on its way before the broker read the cancel.
    send_deliveries(&mut peer, "c", [3]).await;
    agree_to_cancel(&mut peer, "c").await;
    let second = ends(drain.recv()).await.unwrap().unwrap();
    let third = ends(drain.recv()).await.unwrap().unwrap();
    assert_eq!((second.body().as_ref(), third.body().as_ref()), (&b"2"[..], &b"3"[..]));

    third.ack().await.unwrap();
    before.nack(true).await.unwrap();
    all_idle().await;
    assert!(drain.recv().now_or_never().is_none(), "the second is not settled");
    let (over, settled) = join!(ends(drain.recv()), second.reject(false));
    settled.unwrap();
    assert!(over.is_none());
    assert!(drain.recv().await.is_none() && channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_it_says_what_is_not_settled_and_gives_back_what_was_not_handed_out() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1, 2]).await;
    let held = ends(consumer.recv()).await.unwrap().unwrap();
    let mut drain = consumer.drain(PATIENCE);
    let second = ends(drain.recv()).await.unwrap().unwrap();
    let begun = Instant::now();
    // The broker does not even answer the cancel.
    let late = error(ends(drain.recv()).await.unwrap());
    assert!(matches!(late, Error::DrainTimeout { after: PATIENCE, unacked: 2, unconfirmed: 0 }), "{late}");
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(!late.is_connection_error());
    assert!(drain.recv().await.is_none());

    // The channel stays open, so deliveries can still come.
    send_deliveries(&mut peer, "c", [3]).await;
    all_idle().await;
    drop(drain);
    agree_to_cancel(&mut peer, "c").await;
    peer.expect(1, basic::Nack { delivery_tag: 3, multiple: false, requeue: true }).await;
    held.ack().await.unwrap();
    second.ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 2, multiple: true }).await;
}

#[tokio::test(start_paused = true)]
async fn another_consumer_of_the_channel_goes_on_and_is_not_waited_for() {
    let (mut peer, _connection, channel) = session().await;
    let one = consumer(&mut peer, &channel, "one").await;
    let mut other = consumer(&mut peer, &channel, "other").await;
    send_deliveries(&mut peer, "one", [1]).await;
    let mut drain = one.drain(PATIENCE);
    agree_to_cancel(&mut peer, "one").await;
    send_deliveries(&mut peer, "other", [2, 3]).await;
    ends(drain.recv()).await.unwrap().unwrap().ack().await.unwrap();
    assert!(ends(drain.recv()).await.is_none());
    for _ in 0..2 {
        ends(other.recv()).await.unwrap().unwrap().ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_reason_when_its_channel_does() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1]).await;
    let held = ends(consumer.recv()).await.unwrap().unwrap();
    let mut drain = consumer.drain(PATIENCE);
    let (ended, ()) = join!(ends(drain.recv()), async {
        agree_to_cancel(&mut peer, "c").await;
        peer.send(1, channel::Close { reply_code: 406, ..Default::default() }).await;
    });
    // The stream itself had ended normally by then; the ack reports that it came too late.
    assert!(ended.is_none_or(|item| error(item).reply_code() == Some(ReplyCode(406))));
    assert!(ends(drain.recv()).await.is_none());
    assert_eq!(held.ack().await.unwrap_err().reply_code(), Some(ReplyCode(406)));
}

/// The end of a channel does not wait for the broker's answers about its queues, which may come
/// later or not at all.
#[tokio::test(start_paused = true)]
async fn it_ends_well_too_when_the_answer_to_a_close_overtakes_that_to_the_cancel() {
    for overtakes in [false, true] {
        for closes_all in [false, true] {
            let (mut peer, connection, channel) = session().await;
            let mut consumer = consumer(&mut peer, &channel, "c").await;
            send_deliveries(&mut peer, "c", [1, 2]).await;
            let _held = ends(consumer.recv()).await.unwrap().unwrap();
            let mut drain = consumer.drain(PATIENCE);
            peer.expect_any::<basic::Cancel>(1).await;
            if !overtakes {
                peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
                all_idle().await;
            }
            if closes_all {
                join!(connection.close(), answer_close(&mut peer)).0.unwrap();
            } else {
                join!(channel.close(), answer_channel_close(&mut peer)).0.unwrap();
            }
            assert_eq!(ends(drain.recv()).await.unwrap().unwrap().body(), "2");
            let end = ends(drain.recv()).await;
            assert!(end.is_none(), "overtakes: {overtakes}, closes all: {closes_all}: {end:?}");
        }
    }
}

async fn answer_close(peer: &mut Peer) {
    peer.expect_any::<connection::Close>(0).await;
    peer.send(0, connection::CloseOk {}).await;
}

async fn answer_channel_close(peer: &mut Peer) {
    peer.expect_any::<channel::Close>(1).await;
    peer.send(1, channel::CloseOk {}).await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_were_taken_back_are_not_waited_for() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1]).await;
    let held = ends(consumer.recv()).await.unwrap().unwrap();
    let mut drain = consumer.drain(PATIENCE);
    let (over, recovered, ()) = join!(ends(drain.recv()), channel.recover(), async {
        agree_to_cancel(&mut peer, "c").await;
        peer.expect(1, basic::Recover { requeue: true }).await;
        peer.send(1, basic::RecoverOk {}).await;
    });
    recovered.unwrap();
    assert!(over.is_none());
    drop(held);
}

/// A wait that is dropped frees its place, and the channel stays in step.
#[tokio::test(start_paused = true)]
async fn it_can_be_dropped_at_any_time() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1]).await;
    let held = ends(consumer.recv()).await.unwrap().unwrap();
    let mut drain = consumer.drain(Duration::MAX);
    agree_to_cancel(&mut peer, "c").await;
    all_idle().await;
    assert!(drain.recv().now_or_never().is_none());
    drop(drain);
    held.ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    let (purged, ()) = join!(channel.purge("jobs"), async {
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, queue::PurgeOk { message_count: 4 }).await;
    });
    assert_eq!(purged.unwrap(), 4);
}
