//! What delays publishes: a blocked connection, a stopped channel, a peer that does not read.

use std::time::Duration;

use amqp_client::{ConsumeOptions, Error, Message, ReplyCode, WhileBlocked};
use amqp_codec::method::{basic, channel, connection, queue};
use futures_util::FutureExt as _;
use tests::Peer;
use tokio::{join, time::Instant};

use super::{
    QUIET, all_idle, connected, connected_with, ends, error, opened, publisher, quiet, session, short,
};

fn blocked() -> connection::Blocked {
    connection::Blocked { reason: short("low on memory") }
}

#[tokio::test(start_paused = true)]
async fn a_blocked_connection_holds_publishes_and_nothing_else() {
    let (mut peer, connection, channel) = session().await;
    peer.send(0, blocked()).await;
    all_idle().await;
    let message = Message::new("held");
    let mut publishing = Box::pin(channel.publish(("", "jobs"), &message));
    assert!((&mut publishing).now_or_never().is_none());

    let (purged, ()) = join!(channel.purge("jobs"), async {
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, queue::PurgeOk { message_count: 1 }).await;
    });
    assert_eq!(purged.unwrap(), 1);
    let other = opened(&mut peer, &connection, 2).await;
    let (closed, ()) = join!(other.close(), async {
        peer.expect_any::<channel::Close>(2).await;
        peer.send(2, channel::CloseOk {}).await;
    });
    closed.unwrap();

    peer.send(0, connection::Unblocked {}).await;
    ends(publishing).await.unwrap();
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 4).await;
    peer.expect_body(1, "held").await;
}

#[tokio::test(start_paused = true)]
async fn a_publish_held_by_a_blocked_connection_ends_with_its_channel() {
    let (mut peer, _connection, channel) = session().await;
    peer.send(0, blocked()).await;
    all_idle().await;
    let message = Message::new("held");
    let (published, ()) = join!(channel.publish(("", "jobs"), &message), async {
        peer.send(1, channel::Close { reply_code: 404, ..Default::default() }).await;
        peer.expect(1, channel::CloseOk {}).await;
    });
    let error = error(published);
    assert!(matches!(error, Error::ChannelClosed { channel: 1, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_need_not_wait_for_a_blocked_connection() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    peer.send(0, blocked()).await;
    all_idle().await;
    let impatient = publisher.clone().while_blocked(WhileBlocked::Fail);
    let error = error(impatient.publish(("", "jobs"), Message::new("x")).now_or_never().unwrap());
    assert!(matches!(&error, Error::Blocked { reason } if reason == "low on memory"), "{error}");

    let start = Instant::now();
    let after = Duration::from_secs(5);
    let patient = publisher.clone().while_blocked(WhileBlocked::FailAfter(after));
    let error = ends(patient.publish(("", "jobs"), Message::new("x"))).await.unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error}");
    assert_eq!(start.elapsed(), after);

    let start = Instant::now();
    let error =
        ends(publisher.with_timeout(after).publish(("", "jobs"), Message::new("x"))).await.unwrap_err();
    assert_eq!(error.to_string(), "the broker accepts no publishes: low on memory");
    assert!(matches!(error, Error::Blocked { .. }), "it says why, not only that time ran out: {error:?}");
    assert_eq!(start.elapsed(), after);
    peer.expect_silence(after).await;
}

/// What holds it up for the first five seconds is the window, which is no reason to fail.
#[tokio::test(start_paused = true)]
async fn a_publisher_that_waits_for_other_room_is_told_of_a_broker_that_is_blocked_later() {
    let (mut peer, connection) = connected_with(&quiet().confirm_window(1), QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let after = Duration::from_secs(5);
    let publisher = publisher(&mut peer, &channel).await.while_blocked(WhileBlocked::FailAfter(after));
    let start = Instant::now();
    let first = ends(publisher.publish(("", "jobs"), Message::new("\0"))).await.unwrap();
    content_of(&mut peer, 1).await;
    let (second, ()) = join!(ends(publisher.publish(("", "jobs"), Message::new("\0"))), async {
        peer.expect_silence(after + Duration::from_secs(1)).await;
        peer.send(0, blocked()).await;
    });
    assert!(matches!(second, Err(Error::Blocked { .. })), "{second:?}");
    assert_eq!(start.elapsed(), 2 * after);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_window_in_bytes_holds_publishes_but_never_the_only_one() {
    let options = quiet().confirm_window_bytes(1000);
    let (mut peer, connection) = connected_with(&options, QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let message = Message::new(vec![0; 1500]);
    let first = publisher.publish(("", "jobs"), &message).now_or_never().unwrap().unwrap();
    let mut second = Box::pin(publisher.publish(("", "jobs"), &message));
    assert!((&mut second).now_or_never().is_none());
    let mut flush = Box::pin(publisher.flush());
    assert!((&mut flush).now_or_never().is_none());
    content_of(&mut peer, 1500).await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    ends(flush).await.unwrap();
    ends(first).await.unwrap();
    let second = ends(second).await.unwrap();
    content_of(&mut peer, 1500).await;
    let flush = publisher.flush();
    peer.send(1, channel::Close { reply_code: 404, ..Default::default() }).await;
    let error = ends(flush).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
    drop(second);
}

async fn content_of(peer: &mut Peer, size: usize) {
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, size as u64).await;
    peer.expect_body(1, vec![0; size]).await;
}

#[tokio::test(start_paused = true)]
async fn a_held_publish_that_was_dropped_is_not_sent() {
    let (mut peer, _connection, channel) = session().await;
    peer.send(0, blocked()).await;
    all_idle().await;
    assert!(channel.publish(("", "jobs"), Message::new("dropped")).now_or_never().is_none());
    peer.send(0, connection::Unblocked {}).await;
    all_idle().await;
    let (purged, ()) = join!(channel.purge("jobs"), async {
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, queue::PurgeOk { message_count: 0 }).await;
    });
    purged.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_blocked_connection_can_be_closed() {
    let (mut peer, connection, _channel) = session().await;
    peer.send(0, blocked()).await;
    all_idle().await;
    let (closed, ()) = join!(connection.close(), async {
        peer.expect_any::<connection::Close>(0).await;
        peer.send(0, connection::CloseOk {}).await;
    });
    closed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_channel_holds_its_own_publishes_only() {
    let (mut peer, connection) = connected().await;
    let stopped = opened(&mut peer, &connection, 1).await;
    let other = opened(&mut peer, &connection, 2).await;
    peer.send(1, channel::Flow { active: false }).await;
    peer.expect(1, channel::FlowOk { active: false }).await;
    let message = Message::new("");
    let mut publishing = Box::pin(stopped.publish(("", "held"), &message));
    assert!((&mut publishing).now_or_never().is_none());
    other.publish(("", "free"), &message).await.unwrap();
    let publish: basic::Publish = peer.expect_any(2).await;
    assert_eq!(publish.routing_key, "free");
    peer.expect_header(2, 0).await;
    peer.send(1, channel::Flow { active: true }).await;
    ends(publishing).await.unwrap();
    peer.expect(1, channel::FlowOk { active: true }).await;
    peer.expect_any::<basic::Publish>(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_publishes_when_the_buffer_is_full() {
    const BODY: usize = 64 * 1024;
    let (mut peer, connection) = super::connected_with(&quiet().write_buffer(BODY), super::QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let message = Message::new(vec![0; BODY]);
    let mut sent = 0;
    // This is far more than the stream and the buffers of both sides hold.
    while sent < 100 {
        all_idle().await;
        match channel.publish(("", "jobs"), &message).now_or_never() {
            Some(published) => published.unwrap(),
            None => break,
        }
        sent += 1;
    }
    assert!((2..100).contains(&sent), "{sent} publishes of 64 KiB were taken");
    let (published, ()) = join!(channel.publish(("", "jobs"), &message), async {
        for _ in 0..sent {
            peer.expect_any::<basic::Publish>(1).await;
            peer.expect_header(1, BODY as u64).await;
            peer.expect_body(1, vec![0; BODY]).await;
        }
    });
    published.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_without_prefetch_stops_the_reading_until_it_takes_some() {
    let options = quiet().delivery_buffer(100_000);
    let (mut peer, connection) = super::connected_with(&options, super::QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let consuming = channel.consume("jobs", ConsumeOptions::new().tag("c").no_ack(true));
    let (consumer, ()) = join!(consuming, async {
        peer.expect_any::<basic::Qos>(1).await;
        peer.expect_any::<basic::Consume>(1).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: short("c") }).await;
    });
    let mut consumer = consumer.unwrap();
    const MESSAGES: u64 = 100;
    let sending = tokio::spawn(async move {
        for tag in 1..=MESSAGES {
            let body = vec![0; 50_000];
            peer.send_content(1, super::deliver("c", tag), &Default::default(), body).await;
        }
        peer
    });
    all_idle().await;
    assert!(!sending.is_finished(), "5 MB were read for a consumer that takes none");
    for tag in 1..=MESSAGES {
        let delivery = ends(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.delivery_tag(), tag);
    }
    sending.await.unwrap();
}
