//! The attempts to reconnect, their pauses and their end.

use std::time::Duration;

use amqp_client::{Error, Event, ReplyCode, State};
use amqp_codec::method::{channel, connection, queue};
use tokio::{join, time::Instant};

use super::script::{connected, connecting, ends, lose, open, opened, options, recovered, recovery, short};

/// The broker's refusal of a login.
async fn refuse_login(peer: &mut tests::Peer) {
    peer.greet().await;
    peer.expect_any::<connection::StartOk>(0).await;
    let close = connection::Close {
        reply_code: ReplyCode::ACCESS_REFUSED.0,
        reply_text: short("ACCESS_REFUSED - Login was refused"),
        ..Default::default()
    };
    peer.send(0, close).await;
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_the_loss_of_each_attempt_with_its_pause_and_of_the_recovery() {
    let (mut broker, peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    assert!(matches!(events.recv().await, Some(Event::Connected)));
    drop(peer);
    assert!(matches!(ends(events.recv()).await, Some(Event::Disconnected(Error::ConnectionLost(_)))));
    assert!(matches!(connection.state(), State::Recovering { attempt: 1, .. }));
    assert!(!connection.is_open() && !connection.is_closed(), "neither while it is recovered");
    let lost_at = Instant::now();
    let _peer = ends(async {
        broker.refuse().await;
        broker.refuse().await;
        assert!(matches!(connection.state(), State::Recovering { attempt: 2, .. }));
        broker.accept().await
    })
    .await;
    assert_eq!(lost_at.elapsed().as_secs(), 1 + 2 + 4);
    for (number, pause) in [(1, 1), (2, 2), (3, 4)] {
        let Some(Event::Reconnecting { attempt, delay }) = events.recv().await else { panic!("no attempt") };
        assert_eq!((attempt, delay), (number, Duration::from_secs(pause)));
        if number < 3 {
            let Some(Event::NotConnected { attempt, reason }) = events.recv().await else { panic!("no end") };
            assert!(attempt == number && matches!(reason, Error::Connect { .. }), "{attempt}: {reason}");
        }
    }
    assert_eq!(recovered(&mut events).await.attempts, 3);
    assert!(matches!(connection.state(), State::Open));
    assert!(connection.is_open() && !connection.is_closed());
    assert_eq!(connection.metrics().reconnects, 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_anew_after_a_recovery() {
    let (mut broker, mut peer, connection) = connected(recovery().max_attempts(2)).await;
    let mut events = connection.events();
    for _ in 0..3 {
        drop(peer);
        broker.refuse().await;
        peer = broker.accept().await;
        assert_eq!(recovered(&mut events).await.attempts, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_attempts_and_time_end_the_connection_with_the_last_cause() {
    let (mut broker, peer, connection) = connected(recovery().max_attempts(2)).await;
    let channel = opened_over(peer, &connection).await;
    let purging = channel.purge("jobs");
    let (purged, reason, ()) = ends(async {
        join!(purging, connection.closed(), async {
            broker.refuse().await;
            broker.refuse().await;
        })
    })
    .await;
    let Error::NotRecovered { attempts: 2, last, .. } = &reason else { panic!("{reason}") };
    assert!(matches!(**last, Error::Connect { .. }), "{last}");
    assert!(matches!(purged, Err(Error::NotRecovered { .. })), "{purged:?}");
    assert!(matches!(channel.closed().await, Error::NotRecovered { .. }));

    let (mut broker, peer, connection) = connected(recovery().give_up_after(Duration::from_secs(2))).await;
    drop(peer);
    let (reason, ()) = ends(async {
        join!(connection.closed(), async {
            broker.refuse().await;
            broker.refuse().await;
        })
    })
    .await;
    assert!(matches!(reason, Error::NotRecovered { attempts: 2, .. }), "{reason}");
}

/// A channel of a connection that is lost right after.
async fn opened_over(mut peer: tests::Peer, connection: &amqp_client::Connection) -> amqp_client::Channel {
    let channel = opened(&mut peer, connection, 1).await;
    lose(peer, connection).await;
    channel
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_ends_it_at_once() {
    let (mut broker, peer, connection) = connected(recovery()).await;
    drop(peer);
    let (reason, ()) =
        ends(async { join!(connection.closed(), async { refuse_login(&mut broker.answer().await).await }) })
            .await;
    assert!(matches!(reason, Error::LoginRefused { .. }), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn the_first_connect_is_tried_again_when_it_shall_be_and_a_refused_login_is_not() {
    let (mut broker, connecting) = connecting(&options(recovery().first_connect(true)));
    let (connection, _peer) = ends(async {
        join!(connecting, async {
            broker.refuse().await;
            broker.accept().await
        })
    })
    .await;
    assert!(connection.unwrap().is_open());

    let (mut broker, connecting) = super::script::connecting(&options(recovery().first_connect(true)));
    let (connection, ()) =
        ends(async { join!(connecting, async { refuse_login(&mut broker.answer().await).await }) }).await;
    assert!(matches!(connection, Err(Error::LoginRefused { .. })));

    let (mut broker, connecting) = super::script::connecting(&options(recovery()));
    let (connection, ()) = ends(async { join!(connecting, broker.refuse()) }).await;
    assert!(matches!(connection, Err(Error::Connect { .. })), "by default it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_recovery_until_their_deadline() {
    let (mut broker, peer, connection) = connected(recovery()).await;
    let channel = opened_over(peer, &connection).await;
    let late = channel.with_call_timeout(Duration::from_millis(500)).purge("jobs").await;
    assert!(matches!(late, Err(Error::CallTimeout { .. })), "{late:?}");
    let (purged, other, _peer) = ends(async {
        join!(channel.purge("jobs"), connection.open_channel(), async {
            let mut peer = broker.accept().await;
            open(&mut peer, 1).await;
            // Their order does not matter.
            for _ in 0..2 {
                match peer.receive().await {
                    amqp_codec::Frame::Method(1, _) => {
                        peer.send(1, queue::PurgeOk { message_count: 3 }).await;
                    }
                    amqp_codec::Frame::Method(2, _) => {
                        peer.send(2, amqp_codec::method::channel::OpenOk::default()).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
            peer
        })
    })
    .await;
    assert_eq!(purged.unwrap(), 3);
    assert_eq!(other.unwrap().id(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_fails_with_the_cause_of_the_loss() {
    let (_broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let (purged, ()) = join!(channel.purge("jobs"), async {
        peer.expect_any::<queue::Purge>(1).await;
        drop(peer);
    });
    assert!(matches!(purged, Err(Error::ConnectionLost(_))), "{purged:?}");
    assert!(!channel.is_open() && !connection.is_open(), "neither can be used now");
    assert!(!channel.is_closed() && !connection.is_closed(), "both are to be recovered");
}

#[tokio::test(start_paused = true)]
async fn closing_while_it_is_recovered_ends_it_at_once() {
    let (_broker, peer, connection) = connected(recovery()).await;
    let channel = opened_over(peer, &connection).await;
    ends(connection.close()).await.unwrap();
    assert!(matches!(channel.purge("jobs").await, Err(Error::ConnectionEnded)));
    assert!(connection.is_closed() && channel.is_closed());
}

#[tokio::test(start_paused = true)]
async fn closing_while_it_is_restored_ends_it_in_good_order() {
    let (mut broker, peer, connection) = connected(recovery()).await;
    let _channel = opened_over(peer, &connection).await;
    let mut peer = broker.accept().await;
    peer.expect_any::<channel::Open>(1).await;
    let (closed, ()) = ends(async {
        join!(connection.close(), async {
            peer.expect_any::<connection::Close>(0).await;
            // The restoration does not count the connection as lost while the broker is silent.
            peer.expect_silence(Duration::from_secs(5)).await;
            peer.send(0, connection::CloseOk {}).await;
        })
    })
    .await;
    closed.unwrap();
    assert!(ends(broker.next()).await.is_none(), "nobody connects again");
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_closes_is_recovered_and_so_is_a_breach_of_the_protocol() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let close = connection::Close {
        reply_code: ReplyCode::CONNECTION_FORCED.0,
        reply_text: short("CONNECTION_FORCED - broker forced connection closure"),
        ..Default::default()
    };
    peer.send(0, close).await;
    peer.expect(0, connection::CloseOk {}).await;
    let mut peer = broker.accept().await;
    recovered(&mut events).await;
    peer.send(9, queue::PurgeOk { message_count: 0 }).await;
    let closing: connection::Close = peer.expect_any(0).await;
    assert_eq!(closing.reply_code, ReplyCode::CHANNEL_ERROR.0);
    peer.send(0, connection::CloseOk {}).await;
    let _peer = broker.accept().await;
    recovered(&mut events).await;
}

/// Something that ends each connection as soon as it is back, such as a message at the head of a
/// queue, does not cause fifty attempts in a few seconds; and a loss after a long connection causes
/// no pause.
#[tokio::test(start_paused = true)]
async fn a_breach_of_the_protocol_that_comes_again_is_recovered_from_after_longer_and_longer_pauses() {
    let (mut broker, mut peer, connection) = connected(recovery().max_attempts(1)).await;
    let mut events = connection.events();
    for pause in [2, 4, 4] {
        breach(&mut peer).await;
        peer = broker.accept().await;
        assert_eq!(pause_before_recovery(&mut events).await, Duration::from_secs(pause));
    }
    // The connection is lost without an error.
    drop(peer);
    peer = broker.accept().await;
    assert_eq!(pause_before_recovery(&mut events).await, Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    breach(&mut peer).await;
    let _peer = broker.accept().await;
    assert_eq!(pause_before_recovery(&mut events).await, Duration::from_secs(1));
}

/// Sends an invalid method, and ends the connection.
async fn breach(peer: &mut tests::Peer) {
    peer.send(9, queue::PurgeOk { message_count: 0 }).await;
    peer.expect_any::<connection::Close>(0).await;
    peer.send(0, connection::CloseOk {}).await;
}

async fn pause_before_recovery(events: &mut amqp_client::Events) -> Duration {
    loop {
        match ends(events.recv()).await {
            Some(Event::Reconnecting { delay, .. }) => {
                recovered(events).await;
                return delay;
            }
            Some(_) => {}
            None => panic!("the connection has ended"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_everything_while_it_is_recovered_leaves_nobody_knocking() {
    let (mut broker, peer, connection) = connected(recovery()).await;
    let channel = opened_over(peer, &connection).await;
    broker.refuse().await;
    drop((channel, connection));
    assert!(ends(broker.next()).await.is_none(), "the task has ended");
}
