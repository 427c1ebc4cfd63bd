//! The ends of channels and connections, and what every waiting caller is told.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use amqp_client::{Channel, Close, Error, GetOptions, Message, ReplyCode};
use amqp_codec::{
    Arguments as _, Properties,
    method::{basic, channel, connection, queue},
};
use tests::Peer;
use tokio::{join, time::Instant};

use super::{all_idle, connected, consumer, ends, error, opened, publisher, session, short};

fn not_found() -> channel::Close {
    let id = queue::Purge::ID;
    channel::Close {
        reply_code: 404,
        reply_text: short("NOT_FOUND - no queue 'jobs' in vhost '/'"),
        class_id: id.class_id,
        method_id: id.method_id,
    }
}

fn forced() -> connection::Close {
    let reply_text = short("CONNECTION_FORCED - going down");
    connection::Close { reply_code: 320, reply_text, ..Default::default() }
}

/// Makes everything that can wait wait on channel 1 while `then` happens; returns the errors that
/// they end with.
async fn everyone_told(peer: &mut Peer, channel: &Channel, then: impl AsyncFnOnce(&mut Peer)) -> Vec<Error> {
    let publisher = publisher(peer, channel).await;
    let mut consumer = consumer(peer, channel, "c").await;
    let confirm = publisher.publish(("", "jobs"), Message::new("")).await.unwrap();
    let (purge, get, confirm, delivery, closed, ()) = ends(async {
        join!(
            channel.purge("jobs"),
            channel.get("jobs", GetOptions::new()),
            confirm,
            consumer.recv(),
            channel.closed(),
            async {
                peer.expect_any::<basic::Publish>(1).await;
                peer.expect_header(1, 0).await;
                peer.expect_any::<queue::Purge>(1).await;
                peer.expect_any::<basic::Get>(1).await;
                then(peer).await;
            }
        )
    })
    .await;
    assert!(ends(consumer.recv()).await.is_none(), "the reason is the last item");
    assert!(!channel.is_open());
    let after = vec![
        error(channel.purge("jobs").await),
        error(channel.publish(("", "jobs"), Message::new("")).await),
        error(publisher.publish(("", "jobs"), Message::new("")).await),
        channel.closed().await,
        publisher.closed().await,
    ];
    [vec![error(purge), error(get), error(confirm), error(delivery.unwrap()), closed], after].concat()
}

/// Checks that another channel of the connection still works.
async fn works(peer: &mut Peer, channel: &Channel) {
    let (purged, ()) = join!(channel.purge("jobs"), async {
        peer.expect_any::<queue::Purge>(channel.id()).await;
        peer.send(channel.id(), queue::PurgeOk { message_count: 1 }).await;
    });
    assert_eq!(purged.unwrap(), 1);
}

/// What was queued cannot be written any more, but what the broker sent can still be read.
#[tokio::test(start_paused = true)]
async fn the_brokers_reason_is_heard_though_writing_fails_first() {
    let (mut peer, connection, channel) = session().await;
    peer.send(0, forced()).await;
    drop(peer);
    channel.publish(("", "jobs"), Message::new("late")).await.unwrap();
    let reason = ends(connection.closed()).await;
    assert_eq!(reason.reply_code(), Some(ReplyCode::CONNECTION_FORCED), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_get_whose_content_is_under_way_ends_with_the_connection_and_not_later() {
    let (mut peer, _connection, channel) = session().await;
    let begun = Instant::now();
    let (got, ()) = ends(async {
        join!(channel.get("jobs", GetOptions::new()), async move {
            peer.expect_any::<basic::Get>(1).await;
            let ok = basic::GetOk { delivery_tag: 1, ..Default::default() };
            let mut frames = tests::peer::content(1, ok, &Properties::default(), "body", 131_072);
            frames.truncate(2);
            peer.send_frames(frames).await;
            drop(peer);
        })
    })
    .await;
    assert!(matches!(error(got), Error::ConnectionLost(_)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_channel_the_broker_closes_tells_everyone_why_and_others_go_on() {
    let (mut peer, connection, channel) = session().await;
    let other = opened(&mut peer, &connection, 2).await;
    let told = everyone_told(&mut peer, &channel, async |peer| {
        peer.send(1, not_found()).await;
        peer.expect(1, channel::CloseOk {}).await;
    })
    .await;
    let expected = Close {
        code: ReplyCode::NOT_FOUND,
        text: "NOT_FOUND - no queue 'jobs' in vhost '/'".into(),
        method: Some(queue::Purge::ID),
    };
    for error in told {
        let Error::ChannelClosed { channel: 1, close } = &error else { panic!("{error}") };
        assert_eq!(close, &expected);
        assert!(!error.is_connection_error());
    }
    works(&mut peer, &other).await;
    // The number is free again, and the old handles do not act on the new channel.
    let next = opened(&mut peer, &connection, 1).await;
    assert_eq!(error(channel.purge("jobs").await).reply_code(), Some(ReplyCode::NOT_FOUND));
    drop(channel);
    works(&mut peer, &next).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_the_broker_closes_tells_everyone_why() {
    let (mut peer, connection, channel) = session().await;
    let told = everyone_told(&mut peer, &channel, async |peer| {
        peer.send(0, forced()).await;
        peer.expect(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    })
    .await;
    for error in told.into_iter().chain([connection.closed().await, error(connection.open_channel().await)]) {
        let Error::ConnectionClosed(close) = &error else { panic!("{error}") };
        assert_eq!((close.code, close.method), (ReplyCode::CONNECTION_FORCED, None));
        assert!(error.is_connection_error());
    }
    let error = error(connection.close().await);
    assert_eq!(error.reply_code(), Some(ReplyCode::CONNECTION_FORCED));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_tells_everyone_so() {
    let (mut peer, connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let confirm = publisher.publish(("", "jobs"), Message::new("")).await.unwrap();
    let (purge, confirm, closed, ()) = ends(async {
        join!(channel.purge("jobs"), confirm, connection.closed(), async {
            all_idle().await;
            drop(peer);
        })
    })
    .await;
    for error in [error(purge), error(confirm), closed, channel.closed().await] {
        assert!(matches!(error, Error::ConnectionLost(_)), "{error}");
        assert!(error.is_connection_error());
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_closed_by_its_user_tells_everyone_so() {
    let (mut peer, connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let (purge, closed, ()) = join!(channel.purge("jobs"), channel.close(), async {
        peer.expect_any::<queue::Purge>(1).await;
        let close: channel::Close = peer.expect_any(1).await;
        assert_eq!(close.reply_code, 200);
        // The purge was answered before the close came.
        peer.send(1, queue::PurgeOk { message_count: 9 }).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    assert_eq!(purge.unwrap(), 9);
    closed.unwrap();
    let reasons = [error(ends(consumer.recv()).await.unwrap()), channel.closed().await];
    for reason in reasons {
        assert!(matches!(reason, Error::ChannelEnded { channel: 1 }), "{reason}");
    }
    channel.close().await.unwrap();
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn closes_that_cross_on_the_way_end_the_channel_once() {
    let (mut peer, connection, channel) = session().await;
    let (closed, ()) = join!(channel.close(), async {
        peer.expect_any::<channel::Close>(1).await;
        peer.send(1, not_found()).await;
        peer.expect(1, channel::CloseOk {}).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    let _ = closed;
    assert!(!channel.is_open());
    all_idle().await;
    assert!(connection.is_open());
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_of_a_channel_closes_it() {
    let (mut peer, connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    drop(channel);
    all_idle().await;
    let confirm = publisher.publish(("", "jobs"), Message::new("")).await.unwrap();
    drop((publisher, confirm));
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 0).await;
    peer.expect_any::<channel::Close>(1).await;
    peer.send(1, channel::CloseOk {}).await;
    all_idle().await;
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_of_a_connection_closes_it() {
    let (mut peer, connection, channel) = session().await;
    drop(connection);
    works(&mut peer, &channel).await;
    drop(channel);
    peer.expect_any::<channel::Close>(1).await;
    let close: connection::Close = peer.expect_any(0).await;
    assert_eq!(close.reply_code, 200);
    peer.send(0, connection::CloseOk {}).await;
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_by_its_user_sends_what_was_queued_and_tells_everyone_so() {
    let (mut peer, connection, channel) = session().await;
    let message = Message::new("last words");
    channel.publish(("", "jobs"), &message).await.unwrap();
    let (closed, waiting, ()) = join!(connection.close(), channel.closed(), async {
        peer.expect_any::<basic::Publish>(1).await;
        peer.expect_header(1, 10).await;
        peer.expect_body(1, "last words").await;
        peer.expect_any::<connection::Close>(0).await;
        // What is still on its way has no effect.
        peer.send(1, not_found()).await;
        peer.send(7, channel::OpenOk::default()).await;
        peer.send(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    });
    closed.unwrap();
    for error in [waiting, error(channel.purge("jobs").await), error(connection.open_channel().await)] {
        assert!(matches!(error, Error::ConnectionEnded), "{error}");
    }
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_agrees_to_a_close_is_left() {
    let (mut peer, connection) = connected().await;
    let begun = Instant::now();
    ends(connection.close()).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(10));
    peer.expect_any::<connection::Close>(0).await;
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_nothing_is_left_too() {
    let (_peer, connection, channel) = session().await;
    let more_than_it_takes = Message::new(vec![0; 4 << 20]);
    channel.publish(("", "jobs"), &more_than_it_takes).await.unwrap();
    // It waits until the connection is idle, so that only the close has a deadline.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    ends(connection.close()).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn both_sides_may_close_the_connection_at_once() {
    let (mut peer, connection) = connected().await;
    let (closed, ()) = join!(connection.close(), async {
        peer.expect_any::<connection::Close>(0).await;
        peer.send(0, forced()).await;
        peer.expect(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    });
    closed.unwrap();
}

/// Polls once, in its own task, and drops the future. Returns how many places still have that
/// task's waker.
fn left_behind(future: impl Future) -> usize {
    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let task = Arc::new(Task);
    let waker = Waker::from(task.clone());
    let mut future = Box::pin(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((future, waker));
    Arc::strong_count(&task) - 1
}

#[tokio::test(start_paused = true)]
async fn waiting_that_was_given_up_leaves_nothing_behind() {
    let (mut peer, connection, channel) = session().await;
    let publisher = publisher(&mut peer, &channel).await;
    let message = Message::new("");
    let confirm = publisher.publish(("", "jobs"), &message).await.unwrap();
    assert_eq!(left_behind(connection.closed()), 0);
    assert_eq!(left_behind(channel.closed()), 0);
    assert_eq!(left_behind(channel.purge("jobs")), 0);
    assert_eq!(left_behind(channel.get("jobs", GetOptions::new())), 0);
    assert_eq!(left_behind(connection.open_channel()), 0);
    assert_eq!(left_behind(confirm), 0);
    peer.send(1, channel::Flow { active: false }).await;
    all_idle().await;
    assert_eq!(left_behind(channel.publish(("", "jobs"), &message)), 0);
    peer.send(0, connection::Blocked { reason: short("low on memory") }).await;
    all_idle().await;
    assert_eq!(left_behind(publisher.publish(("", "jobs"), &message)), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_connection_does_not_touch_another() {
    let (first_peer, first, _) = session().await;
    let (mut peer, second, channel) = session().await;
    drop(first_peer);
    ends(first.closed()).await;
    assert!(second.is_open());
    works(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_not_open_from_when_its_close_is_asked_for() {
    let (mut peer, _connection, channel) = session().await;
    assert!(channel.is_open());
    let closing = channel.close();
    tokio::select! {
        biased;
        _ = closing => panic!("nobody agreed"),
        () = all_idle() => {}
    }
    assert!(!channel.is_open());
    assert!(matches!(error(channel.purge("jobs").await), Error::ChannelEnded { channel: 1 }));
    peer.expect_any::<channel::Close>(1).await;
    peer.send(1, channel::CloseOk {}).await;
    assert!(matches!(ends(channel.closed()).await, Error::ChannelEnded { channel: 1 }));
}
