//! Publishes: their frames, their outcomes, and what delays them.

use amqp_client::{Confirm, Confirmation, Error, Message, Publisher, Route};
use amqp_codec::{
    Properties,
    method::{basic, channel, connection},
};
use bytes::Bytes;
use futures_util::FutureExt;
use tests::Peer;

use super::{QUIET, all_idle, connected_with, ends, error, opened, publisher, quiet, session, short};

/// Publishes so many messages to the queue `jobs`, and has the peer read them.
async fn published(peer: &mut Peer, publisher: &Publisher, count: u64) -> Vec<Confirm> {
    let mut confirms = Vec::new();
    for number in 0..count {
        let body = number.to_string();
        confirms.push(publisher.publish(("", "jobs"), Message::new(body.clone())).await.unwrap());
        peer.expect_any::<basic::Publish>(1).await;
        peer.expect_header(1, body.len() as u64).await;
        peer.expect_body(1, body).await;
    }
    confirms
}

/// The outcomes known by now: `.` open, `A` acked, `N` nacked, `R` returned, `E` an error. A known
/// confirm is removed.
async fn known(confirms: &mut [Option<Confirm>]) -> String {
    all_idle().await;
    confirms
        .iter_mut()
        .map(|slot| {
            let outcome = slot.as_mut().and_then(FutureExt::now_or_never);
            if outcome.is_some() {
                *slot = None;
            }
            match outcome {
                None => '.',
                Some(Ok(Confirmation::Ack)) => 'A',
                Some(Ok(Confirmation::Nack)) => 'N',
                Some(Ok(Confirmation::Returned(_))) => 'R',
                Some(Err(_)) => 'E',
            }
        })
        .collect()
}

fn ack(delivery_tag: u64, multiple: bool) -> basic::Ack {
    basic::Ack { delivery_tag, multiple }
}

fn nack(delivery_tag: u64, multiple: bool) -> basic::Nack {
    basic::Nack { delivery_tag, multiple, requeue: false }
}

fn returned(routing_key: &'static str) -> basic::Return {
    basic::Return {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short("events"),
        routing_key: short(routing_key),
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_method_header_and_body_in_frames_that_fit() {
    let (mut peer, connection) =
        connected_with(&quiet(), amqp_codec::Tune { frame_max: 4096, ..QUIET }).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let body = Bytes::from(vec![7; 10_000]);
    let message = Message::new(body.clone()).persistent().content_type("application/octet-stream");
    channel.publish(("events", "job.run"), &message).await.unwrap();
    let publish: basic::Publish = peer.expect_any(1).await;
    assert_eq!((publish.exchange, publish.routing_key), (short("events"), short("job.run")));
    assert_eq!(&peer.expect_header(1, 10_000).await, message.properties());
    for part in body.chunks(4088) {
        peer.expect_body(1, part.to_vec()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn acks_and_nacks_settle_what_their_tag_names() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut confirms: Vec<_> = published(&mut peer, &publisher, 8).await.into_iter().map(Some).collect();
    assert_eq!(confirms.iter().flatten().map(Confirm::tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    peer.send(1, ack(3, false)).await;
    assert_eq!(known(&mut confirms).await, "..A.....");
    peer.send(1, nack(5, false)).await;
    assert_eq!(known(&mut confirms).await, "....N...");
    peer.send(1, ack(2, true)).await;
    assert_eq!(known(&mut confirms).await, "AA......");
    peer.send(1, nack(7, true)).await;
    assert_eq!(known(&mut confirms).await, "...N.NN.");
    peer.send(1, ack(0, true)).await;
    assert_eq!(known(&mut confirms).await, ".......A");
}

#[tokio::test(start_paused = true)]
async fn tag_zero_with_multiple_is_all_so_far_for_nacks_too() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut confirms: Vec<_> = published(&mut peer, &publisher, 3).await.into_iter().map(Some).collect();
    peer.send(1, nack(0, true)).await;
    assert_eq!(known(&mut confirms).await, "NNN");
    let mut more: Vec<_> = published(&mut peer, &publisher, 2).await.into_iter().map(Some).collect();
    assert_eq!(known(&mut more).await, "..");
    peer.send(1, ack(0, true)).await;
    assert_eq!(known(&mut more).await, "AA");
}

#[tokio::test(start_paused = true)]
async fn confirms_of_tags_never_given_or_settled_before_change_nothing() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut confirms: Vec<_> = published(&mut peer, &publisher, 2).await.into_iter().map(Some).collect();
    for tag in [3, u64::MAX] {
        peer.send(1, ack(tag, false)).await;
        peer.send(1, nack(tag, true)).await;
    }
    peer.send(1, ack(0, false)).await;
    assert_eq!(known(&mut confirms).await, "..");
    peer.send(1, ack(1, false)).await;
    peer.send(1, nack(1, false)).await;
    peer.send(1, ack(2, true)).await;
    assert_eq!(known(&mut confirms).await, "AA");
    assert!(channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_return_belongs_to_the_publish_it_equals() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut confirms = Vec::new();
    for (key, body) in [("a", "x"), ("b", "x"), ("b", "y"), ("b", "x")] {
        let message = Message::new(body);
        confirms
            .push(Some(publisher.publish(Route::new("events", key).mandatory(true), message).await.unwrap()));
        let publish: basic::Publish = peer.expect_any(1).await;
        assert!(publish.mandatory);
        peer.expect_header(1, 1).await;
        peer.expect_body(1, body).await;
    }
    peer.send_content(1, returned("b"), &Properties::default(), "y").await;
    peer.send_content(1, returned("b"), &Properties::default(), "x").await;
    // A return alone settles nothing: its ack follows.
    assert_eq!(known(&mut confirms).await, "....");
    peer.send(1, ack(3, true)).await;
    assert_eq!(known(&mut confirms).await, "ARR.");
    peer.send(1, ack(4, false)).await;
    assert_eq!(known(&mut confirms).await, "...A");
}

#[tokio::test(start_paused = true)]
async fn a_returned_message_comes_back_whole_with_the_reason() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let message = Message::new("body").correlation_id("c-1").unwrap();
    let confirm =
        publisher.publish(Route::new("events", "nobody").mandatory(true), message.clone()).await.unwrap();
    peer.expect_any::<basic::Publish>(1).await;
    peer.send_content(1, returned("nobody"), message.properties(), "body").await;
    peer.send(1, ack(1, false)).await;
    let Confirmation::Returned(returned) = ends(confirm).await.unwrap() else { panic!("not returned") };
    assert_eq!((returned.code().0, returned.text()), (312, "NO_ROUTE"));
    assert_eq!((returned.exchange(), returned.routing_key()), ("events".into(), "nobody".into()));
    assert_eq!(returned.body(), "body");
    assert_eq!(&returned.properties().unwrap(), message.properties());
}

#[tokio::test(start_paused = true)]
async fn a_return_for_a_dropped_confirm_does_not_reach_the_next_one() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    drop(publisher.publish(Route::new("events", "k").mandatory(true), Message::new("x")).await.unwrap());
    let second =
        publisher.publish(Route::new("events", "k").mandatory(true), Message::new("x")).await.unwrap();
    peer.send_content(1, returned("k"), &Properties::default(), "x").await;
    peer.send(1, ack(1, false)).await;
    peer.send(1, ack(2, false)).await;
    assert!(matches!(ends(second).await.unwrap(), Confirmation::Ack));
}

#[tokio::test(start_paused = true)]
async fn a_return_for_a_publish_without_a_confirm_does_not_reach_the_next_one() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let route = Route::new("events", "k").mandatory(true);
    channel.publish(route, Message::new("x")).await.unwrap();
    let confirm = publisher.publish(route, Message::new("x")).await.unwrap();
    assert!(peer.expect_any::<basic::Publish>(1).await.mandatory);
    peer.send_content(1, returned("k"), &Properties::default(), "x").await;
    peer.send(1, ack(1, false)).await;
    peer.send(1, ack(2, false)).await;
    assert!(matches!(ends(confirm).await.unwrap(), Confirmation::Ack));
}

#[tokio::test(start_paused = true)]
async fn the_window_of_unconfirmed_publishes_holds_the_next_one_back() {
    let (mut peer, connection) = connected_with(&quiet().confirm_window(4), QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let _confirms = published(&mut peer, &publisher, 4).await;
    let mut fifth = Box::pin(publisher.publish(("", "jobs"), Message::new("fifth")));
    all_idle().await;
    assert!((&mut fifth).now_or_never().is_none());
    peer.send(1, ack(4, true)).await;
    assert_eq!(ends(fifth).await.unwrap().tag(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_may_not_wait_is_made_at_once_or_not_at_all() {
    let (mut peer, connection) = connected_with(&quiet().confirm_window(1), QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let publish = || publisher.try_publish(("", "jobs"), Message::new("x"));
    let first = publish().unwrap().unwrap();
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 1).await;
    peer.expect_body(1, "x").await;
    assert!(publish().unwrap().is_none(), "the window is full");
    peer.send(1, ack(1, false)).await;
    ends(first).await.unwrap();
    peer.send(0, connection::Blocked { reason: short("low on memory") }).await;
    all_idle().await;
    assert!(publish().unwrap().is_none(), "the broker blocks");
    peer.send(0, connection::Unblocked {}).await;
    all_idle().await;
    assert_eq!(publish().unwrap().unwrap().tag(), 2);
    let too_long = publisher.try_publish(("", &"k".repeat(256)), Message::new("x"));
    assert!(matches!(too_long, Err(Error::Invalid(_))), "{too_long:?}");
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 1).await;
    peer.expect_body(1, "x").await;
    peer.send(1, channel::Close { reply_code: 404, ..Default::default() }).await;
    peer.expect(1, channel::CloseOk {}).await;
    assert!(matches!(publish(), Err(Error::ChannelClosed { channel: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_before_the_channel_ended_stays_so_and_the_rest_is_unknown() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut confirms: Vec<_> = published(&mut peer, &publisher, 4).await.into_iter().map(Some).collect();
    peer.send(1, ack(1, false)).await;
    peer.send(1, nack(2, false)).await;
    peer.send(1, channel::Close { reply_code: 406, ..Default::default() }).await;
    peer.expect(1, channel::CloseOk {}).await;
    assert_eq!(known(&mut confirms).await, "ANEE");
    let refused = error(publisher.publish(("", "jobs"), Message::new("")).await);
    assert!(matches!(refused, Error::ChannelClosed { channel: 1, .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn properties_that_do_not_fit_into_a_frame_are_refused_and_take_no_tag() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut headers = amqp_client::Table::new();
    headers.insert("big", "x".repeat(200_000)).unwrap();
    let refused = error(publisher.publish(("", "jobs"), Message::new("").headers(headers)).await);
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    let refused = error(publisher.publish(("", &"k".repeat(256)), Message::new("")).await);
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    let confirms = published(&mut peer, &publisher, 1).await;
    assert_eq!(confirms[0].tag(), 1);
}

#[tokio::test(start_paused = true)]
async fn publishes_without_confirm_on_a_confirming_channel_count_along() {
    let (mut peer, _connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    channel.publish(("", "jobs"), Message::new("unasked")).await.unwrap();
    let confirm = publisher.publish(("", "jobs"), Message::new("asked")).await.unwrap();
    assert_eq!(confirm.tag(), 2);
    peer.send(1, ack(2, true)).await;
    assert!(matches!(ends(confirm).await.unwrap(), Confirmation::Ack));
}
