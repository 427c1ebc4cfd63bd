//! A consumer that the broker cancels starts again, while its channel and connection continue.

use amqp_client::{Connection, ConsumeOptions, Consumer, Error, Queue, ReplyCode};
use amqp_codec::method::{basic, channel, connection, queue};
use std::time::Duration;
use tests::Peer;
use tokio::{join, time::Instant};

use super::script::{
    connected, consume, deliver, ends, expect_consume, lose, open, opened, recovered, recovery, short,
};

fn options() -> ConsumeOptions {
    let pauses = amqp_client::Backoff::new(Duration::from_secs(1), Duration::from_secs(2)).jitter(false);
    ConsumeOptions::new().tag("c").prefetch(7).resubscribe(pauses)
}

async fn cancel(peer: &mut Peer) {
    peer.send(1, basic::Cancel { consumer_tag: short("c"), no_wait: true }).await;
}

/// The broker closes channel 2 because a queue does not exist.
async fn not_there(peer: &mut Peer) {
    let reply_text = short("NOT_FOUND - no queue 'jobs' in vhost '/'");
    peer.send(2, channel::Close { reply_code: 404, reply_text, ..Default::default() }).await;
    peer.expect(2, channel::CloseOk {}).await;
}

async fn close_channel(peer: &mut Peer) {
    peer.expect_any::<channel::Close>(2).await;
    peer.send(2, channel::CloseOk {}).await;
}

async fn consuming(peer: &mut Peer, connection: &Connection, declared: bool) -> Consumer {
    let channel = opened(peer, connection, 1).await;
    if declared {
        let queue = Queue::durable("jobs").max_length(5);
        let (declared, ()) = join!(channel.declare(&queue), async {
            peer.expect_any::<queue::Declare>(1).await;
            peer.send(1, queue::DeclareOk { queue: short("jobs"), ..Default::default() }).await;
        });
        declared.unwrap();
    }
    let (consumer, ()) = join!(channel.consume("jobs", options()), consume(peer, 1, "jobs", "c"));
    consumer.unwrap()
}

#[tokio::test(start_paused = true)]
async fn its_queue_is_declared_as_it_was_and_what_was_delivered_before_comes_first() {
    let (_broker, mut peer, connection) = connected(recovery()).await;
    let mut consumer = consuming(&mut peer, &connection, true).await;
    deliver(&mut peer, 1, "c", 1, false).await;
    cancel(&mut peer).await;
    let first = ends(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(first.body(), "1");
    let (second, ()) = ends(async {
        join!(consumer.recv(), async {
            open(&mut peer, 2).await;
            let declare: queue::Declare = peer.expect_any(2).await;
            assert_eq!((declare.queue.as_str(), declare.durable), (Ok("jobs"), true));
            assert_eq!(declare.arguments.to_string(), "{x-max-length: 5}");
            peer.send(2, queue::DeclareOk { queue: short("jobs"), ..Default::default() }).await;
            close_channel(&mut peer).await;
            consume(&mut peer, 1, "jobs", "c").await;
            deliver(&mut peer, 1, "c", 2, false).await;
        })
    })
    .await;
    assert_eq!(second.unwrap().unwrap().body(), "2");
    first.ack().await.expect("the channel is the same");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_not_declared_here_is_waited_for_with_pauses() {
    let (_broker, mut peer, connection) = connected(recovery()).await;
    let mut consumer = consuming(&mut peer, &connection, false).await;
    let begun = Instant::now();
    cancel(&mut peer).await;
    let (delivery, ()) = ends(async {
        join!(consumer.recv(), async {
            for _ in 0..3 {
                open(&mut peer, 2).await;
                let declare: queue::Declare = peer.expect_any(2).await;
                assert!(declare.passive);
                not_there(&mut peer).await;
            }
            open(&mut peer, 2).await;
            peer.expect_any::<queue::Declare>(2).await;
            peer.send(2, queue::DeclareOk { queue: short("jobs"), ..Default::default() }).await;
            close_channel(&mut peer).await;
            consume(&mut peer, 1, "jobs", "c").await;
            deliver(&mut peer, 1, "c", 1, false).await;
        })
    })
    .await;
    assert_eq!(delivery.unwrap().unwrap().body(), "1");
    assert_eq!(begun.elapsed().as_secs(), 1 + 2 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn one_whose_queue_is_not_there_when_the_connection_is_recovered_waits_for_it() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let mut consumer = consuming(&mut peer, &connection, false).await;
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    expect_consume(&mut peer, 1, "jobs", "c").await;
    let reply_text = short("NOT_FOUND - home node 'r2@localhost' of durable queue 'jobs' is down");
    peer.send(1, channel::Close { reply_code: 404, reply_text, ..Default::default() }).await;
    peer.expect(1, channel::CloseOk {}).await;
    open(&mut peer, 1).await;
    let report = recovered(&mut events).await;
    assert_eq!((report.consumers, report.skipped.len()), (0, 1));
    let (delivery, ()) = ends(async {
        join!(consumer.recv(), async {
            open(&mut peer, 2).await;
            peer.expect_any::<queue::Declare>(2).await;
            not_there(&mut peer).await;
            open(&mut peer, 2).await;
            peer.expect_any::<queue::Declare>(2).await;
            peer.send(2, queue::DeclareOk { queue: short("jobs"), ..Default::default() }).await;
            close_channel(&mut peer).await;
            consume(&mut peer, 1, "jobs", "c").await;
            deliver(&mut peer, 1, "c", 1, true).await;
        })
    })
    .await;
    assert_eq!(delivery.unwrap().unwrap().body(), "1");
}

/// The broker closes this channel with 403.
async fn refuse(peer: &mut Peer, number: u16, text: &'static str) {
    peer.send(number, channel::Close { reply_code: 403, reply_text: short(text), ..Default::default() })
        .await;
    peer.expect(number, channel::CloseOk {}).await;
}

async fn declare_is_answered(peer: &mut Peer) {
    open(peer, 2).await;
    peer.expect_any::<queue::Declare>(2).await;
    peer.send(2, queue::DeclareOk { queue: short("jobs"), ..Default::default() }).await;
    close_channel(peer).await;
}

/// Permissions do not come by waiting, and an exclusive consumer of another goes one day.
#[tokio::test(start_paused = true)]
async fn a_queue_in_exclusive_use_is_waited_for_and_a_missing_permission_is_not() {
    const IN_USE: &str = "ACCESS_REFUSED - queue 'jobs' in vhost '/' in exclusive use";
    const REFUSED: &str = "ACCESS_REFUSED - access to queue 'jobs' in vhost '/' refused for user 'guest'";
    for refused_at in ["declare", "consume"] {
        let (_broker, mut peer, connection) = connected(recovery().reopen_channels(true)).await;
        let mut consumer = consuming(&mut peer, &connection, false).await;
        cancel(&mut peer).await;
        let (ended, ()) = ends(async {
            join!(consumer.recv(), async {
                declare_is_answered(&mut peer).await;
                expect_consume(&mut peer, 1, "jobs", "c").await;
                refuse(&mut peer, 1, IN_USE).await;
                open(&mut peer, 1).await;
                if refused_at == "consume" {
                    declare_is_answered(&mut peer).await;
                    expect_consume(&mut peer, 1, "jobs", "c").await;
                    refuse(&mut peer, 1, REFUSED).await;
                    open(&mut peer, 1).await;
                } else {
                    open(&mut peer, 2).await;
                    peer.expect_any::<queue::Declare>(2).await;
                    refuse(&mut peer, 2, REFUSED).await;
                }
            })
        })
        .await;
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.reply_code(), Some(ReplyCode::ACCESS_REFUSED), "at {refused_at}");
        assert!(!error.is_taken(), "at {refused_at}: {error}");
        assert!(ends(consumer.recv()).await.is_none());
        peer.expect_silence(Duration::from_secs(10)).await;
        assert!(connection.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_channel_while_it_waits() {
    let (_broker, mut peer, connection) = connected(recovery()).await;
    let mut consumer = consuming(&mut peer, &connection, false).await;
    cancel(&mut peer).await;
    let (ended, closed) = ends(async { join!(consumer.recv(), close(&connection, &mut peer)) }).await;
    assert!(matches!(ended, Some(Err(Error::ConnectionEnded))), "{ended:?}");
    closed.unwrap();
    assert!(ends(consumer.recv()).await.is_none());
}

async fn close(connection: &Connection, peer: &mut Peer) -> amqp_client::Result<()> {
    let (closed, ()) = join!(connection.close(), async {
        peer.expect_any::<connection::Close>(0).await;
        peer.send(0, connection::CloseOk {}).await;
    });
    closed
}
