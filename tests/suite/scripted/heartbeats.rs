//! Heartbeats, on a clock that the test controls.

use std::time::Duration;

use amqp_client::{ConnectOptions, Error, Event, GetOptions, Message};
use amqp_codec::{
    Tune,
    frame::HEARTBEAT,
    method::{channel, queue},
};
use futures_util::FutureExt as _;
use tokio::{
    join,
    time::{Instant, sleep},
};

use super::{QUIET, connected, connected_with, consumer, ends, error, opened, send_deliveries};

fn every(seconds: u64) -> ConnectOptions {
    ConnectOptions::new().heartbeat(Duration::from_secs(seconds))
}

const WILLING: Tune = Tune { heartbeat: 60, ..QUIET };

#[tokio::test(start_paused = true)]
async fn signs_of_life_are_sent_well_within_the_interval() {
    for interval in [1, 2, 10] {
        let (mut peer, connection) = connected_with(&every(interval), WILLING).await;
        for _ in 0..20 {
            let quiet_since = Instant::now();
            peer.expect_heartbeat().await;
            assert!(quiet_since.elapsed() < Duration::from_secs(interval), "interval {interval}");
            peer.send_bytes(&HEARTBEAT[..]).await;
        }
        assert!(connection.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_anyway_is_sign_of_life_enough() {
    let (mut peer, connection) = connected_with(&every(10), WILLING).await;
    let channel = opened(&mut peer, &connection, 1).await;
    for _ in 0..20 {
        sleep(Duration::from_secs(4)).await;
        channel.publish(("", "jobs"), Message::new("")).await.unwrap();
        peer.expect_any::<amqp_codec::method::basic::Publish>(1).await;
        peer.expect_header(1, 0).await;
        peer.send_bytes(&HEARTBEAT[..]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_silent_intervals_end_the_connection_and_all_that_waits_on_it() {
    let (mut peer, connection) = connected_with(&every(10), WILLING).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let silent_since = Instant::now();
    let (got, reason, channels) =
        ends(async { join!(channel.get("jobs", GetOptions::new()), connection.closed(), channel.closed()) })
            .await;
    assert_eq!(silent_since.elapsed(), Duration::from_secs(20));
    for error in [error(got), reason, channels, error(connection.open_channel().await)] {
        assert!(
            matches!(error, Error::HeartbeatMissed { silent } if silent == Duration::from_secs(20)),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn any_bytes_are_a_sign_of_life() {
    let (mut peer, connection) = connected_with(&every(10), WILLING).await;
    let opening = connection.open_channel();
    let (channel, ()) = join!(opening, async {
        // The answer arrives byte by byte, each just in time.
        let mut answer = bytes::BytesMut::new();
        let ok = amqp_codec::Frame::Method(1, channel::OpenOk::default().into());
        ok.encode(4096, &mut answer).unwrap();
        let patience = Duration::from_secs(19);
        for byte in answer {
            peer.send_bytes(vec![byte]).await;
            if byte != amqp_codec::frame::FRAME_END {
                sleep(patience).await;
            }
        }
    });
    // The call has waited longer than its own deadline, but the connection has not.
    let error = error(channel);
    assert!(matches!(error, Error::CallTimeout { method: "channel.open", .. }), "{error}");
    assert!(connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn without_heartbeats_silence_means_nothing() {
    let (mut peer, connection) = connected().await;
    peer.expect_silence(Duration::from_secs(24 * 3600)).await;
    assert!(connection.is_open());
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_wants_none_gets_the_clients_wish() {
    let (mut peer, connection) = connected_with(&every(10), QUIET).await;
    peer.expect_heartbeat().await;
    let reason = ends(connection.closed()).await;
    assert!(matches!(reason, Error::HeartbeatMissed { .. }), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_a_call_waits() {
    let (mut peer, connection) = connected_with(&every(10), WILLING).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let (purged, ()) = join!(channel.purge("jobs"), async {
        peer.expect_any::<queue::Purge>(1).await;
        for _ in 0..5 {
            peer.expect_heartbeat().await;
            peer.send_bytes(&HEARTBEAT[..]).await;
        }
        peer.send(1, queue::PurgeOk { message_count: 3 }).await;
    });
    assert_eq!(purged.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_held_for_long_is_told_once() {
    let options = every(10).warn_unacked_after(Duration::from_secs(60));
    let (mut peer, connection) = connected_with(&options, WILLING).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let mut consumer = consumer(&mut peer, &channel, "slow").await;
    let mut events = connection.events();
    assert!(matches!(events.recv().await, Some(Event::Connected)));
    assert_eq!(channel.oldest_unacked(), None);
    send_deliveries(&mut peer, "slow", [1, 2]).await;
    let held = consumer.recv().await.unwrap().unwrap();
    let since = Instant::now();

    let mut told = Vec::new();
    for _ in 0..40 {
        peer.expect_heartbeat().await;
        peer.send_bytes(&HEARTBEAT[..]).await;
        told.extend(events.recv().now_or_never().flatten());
    }
    assert!(since.elapsed() > Duration::from_secs(120));
    assert!(channel.oldest_unacked().unwrap() > Duration::from_secs(120));
    let [Event::DeliveryHeld { channel: 1, held: age }] = told[..] else { panic!("{told:?}") };
    assert!(age >= Duration::from_secs(60) && age < Duration::from_secs(70), "{age:?}");
    held.ack().await.unwrap();
}
