//! A broker that exceeds the prefetch: what it sends ahead is bounded, by count and by bytes.

use std::time::Duration;

use amqp_client::{Channel, ConnectOptions, Connection, ConsumeOptions, Consumer, Error, State, Uri};
use amqp_codec::{
    Properties, Table, Tune,
    method::{basic, connection, queue},
};
use futures_util::FutureExt as _;
use tests::Peer;
use tokio::join;

use super::{
    QUIET, all_idle, connected_with, deliver, ends, error, opened, quiet, send_deliveries, session, short,
};

/// The most unsettled deliveries of a consumer with a prefetch of 4.
const LIMIT_OF_4: u64 = 2 * 4 + 64;

async fn consumer(peer: &mut Peer, channel: &Channel, tag: &'static str, prefetch: u16) -> Consumer {
    let consuming = channel.consume("jobs", ConsumeOptions::new().tag(tag).prefetch(prefetch));
    let (consumer, ()) = join!(consuming, async {
        peer.expect(1, basic::Qos { prefetch_count: prefetch, ..Default::default() }).await;
        peer.expect_any::<basic::Consume>(1).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: short(tag) }).await;
    });
    consumer.unwrap()
}

async fn qos(peer: &mut Peer, channel: &Channel, prefetch: u16) {
    let (set, ()) = join!(channel.qos(prefetch), async {
        peer.expect(1, basic::Qos { prefetch_count: prefetch, global: true, ..Default::default() }).await;
        peer.send(1, basic::QosOk {}).await;
    });
    set.unwrap();
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<amqp_client::Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(ends(consumer.recv()).await.unwrap().unwrap());
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_sent_far_more_than_its_prefetch_ends_alone_and_says_why() {
    let (mut peer, _connection, channel) = session().await;
    let mut flooded = consumer(&mut peer, &channel, "a", 4).await;
    let mut other = consumer(&mut peer, &channel, "b", 100).await;
    send_deliveries(&mut peer, "a", 1..=LIMIT_OF_4).await;
    peer.expect_silence(Duration::from_secs(1)).await;
    let next = LIMIT_OF_4 + 1;
    send_deliveries(&mut peer, "a", [next]).await;
    peer.expect(1, basic::Cancel { consumer_tag: short("a"), no_wait: false }).await;
    // Deliveries that come before the broker has read the cancel are requeued.
    send_deliveries(&mut peer, "a", [next + 1]).await;
    peer.expect(1, basic::Nack { delivery_tag: next + 1, multiple: false, requeue: true }).await;
    peer.send(1, basic::CancelOk { consumer_tag: short("a") }).await;

    let taken = take(&mut flooded, next as usize).await;
    let reason = error(ends(flooded.recv()).await.unwrap());
    let Error::PrefetchExceeded { channel: 1, tag, prefetch: 4, unsettled } = &reason else {
        panic!("{reason}")
    };
    assert_eq!((tag.as_str(), u64::from(*unsettled)), ("a", next));
    assert!(!reason.is_connection_error());
    assert!(ends(flooded.recv()).await.is_none());
    for delivery in taken {
        delivery.ack().await.unwrap();
    }
    peer.expect(1, basic::Ack { delivery_tag: next, multiple: true }).await;
    send_deliveries(&mut peer, "b", [next + 2]).await;
    take(&mut other, 1).await.remove(0).ack().await.unwrap();
    assert!(channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_does_not_count_however_it_was() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "a", 4).await;
    for round in 0..20 {
        let first = round * LIMIT_OF_4 + 1;
        send_deliveries(&mut peer, "a", first..first + LIMIT_OF_4).await;
        for (number, delivery) in take(&mut consumer, LIMIT_OF_4 as usize).await.into_iter().enumerate() {
            match number % 3 {
                0 => delivery.ack().await.unwrap(),
                1 => delivery.nack(true).await.unwrap(),
                _ => delivery.reject(false).await.unwrap(),
            }
        }
    }
    assert!(channel_is_well(&mut peer, &channel).await);
}

/// Tells whether the channel answers, and nothing but settlements was sent before.
async fn channel_is_well(peer: &mut Peer, channel: &Channel) -> bool {
    use amqp_codec::{Frame, Method};
    use basic::Method::{Ack, Nack, Reject};
    let (purged, ()) = join!(channel.purge("jobs"), async {
        loop {
            match peer.receive().await {
                Frame::Method(1, Method::Basic(Ack(_) | Nack(_) | Reject(_))) => {}
                Frame::Method(1, Method::Queue(queue::Method::Purge(_))) => break,
                other => panic!("{other:?}"),
            }
        }
        peer.send(1, queue::PurgeOk { message_count: 0 }).await;
    });
    purged.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_global_or_lowered_prefetch_and_recover_close_nothing() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "a", 40).await;
    let limit = 2 * 40 + 64;
    send_deliveries(&mut peer, "a", 1..=100).await;
    qos(&mut peer, &channel, 1).await;
    send_deliveries(&mut peer, "a", 101..=limit).await;
    let held = take(&mut consumer, limit as usize).await;
    let (recovered, ()) = join!(channel.recover(), async {
        peer.expect(1, basic::Recover { requeue: true }).await;
        // It was on its way; the broker has requeued this one, too.
        send_deliveries(&mut peer, "a", [limit + 1]).await;
        peer.send(1, basic::RecoverOk {}).await;
        send_deliveries(&mut peer, "a", limit + 2..2 * limit + 2).await;
    });
    recovered.unwrap();
    let again = take(&mut consumer, limit as usize).await;
    assert!(channel_is_well(&mut peer, &channel).await);
    drop((held, again));

    let mut unbounded = self::consumer(&mut peer, &channel, "b", 0).await;
    send_deliveries(&mut peer, "b", 2 * limit + 2..2 * limit + 1002).await;
    take(&mut unbounded, 1000).await;
    assert!(channel_is_well(&mut peer, &channel).await);
}

#[tokio::test(start_paused = true)]
async fn where_the_prefetch_is_the_channels_that_of_its_other_consumers_is_allowed_to_each() {
    let (mut peer, stream) = Peer::new();
    peer.lack("per_consumer_qos");
    let (options, uri) = (quiet(), Uri::default());
    let (connection, _) = join!(options.connect_stream(stream, &uri), peer.accept_with(QUIET));
    let connection = connection.unwrap();
    let channel = opened(&mut peer, &connection, 1).await;
    let _wide = consumer(&mut peer, &channel, "a", 100).await;
    let mut narrow = consumer(&mut peer, &channel, "b", 4).await;
    let limit = 2 * 100 + 64;
    send_deliveries(&mut peer, "b", 1..=limit).await;
    let held = take(&mut narrow, limit as usize).await;
    assert!(channel_is_well(&mut peer, &channel).await);
    send_deliveries(&mut peer, "b", [limit + 1]).await;
    peer.expect(1, basic::Cancel { consumer_tag: short("b"), no_wait: false }).await;
    drop(held);
}

/// RabbitMQ sends a stream in whole chunks, however many messages they have.
#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_in_chunks_and_closes_nothing() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "a", 1).await;
    for number in 1..=1000_u64 {
        let mut headers = Table::new();
        headers.insert("x-stream-offset", number as i64).unwrap();
        let properties = Properties { headers: Some(headers), ..Default::default() };
        peer.send_content(1, deliver("a", number), &properties, "x").await;
    }
    take(&mut consumer, 1000).await;
    assert!(channel_is_well(&mut peer, &channel).await);
}

const SIZE: usize = 50_000;

/// A connection with heartbeats of 10 s, and 18 deliveries of 50 kB over a limit of 100 kB, which
/// are more than the client reads.
async fn overfull() -> (Peer, Connection, Channel, Consumer) {
    let options = ConnectOptions::new().heartbeat(Duration::from_secs(10)).inbox_limit(2 * SIZE);
    let (mut peer, connection) = connected_with(&options, Tune { heartbeat: 10, ..QUIET }).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let consumer = consumer(&mut peer, &channel, "c", 20).await;
    for tag in 1..=18 {
        peer.send_content(1, deliver("c", tag), &Properties::default(), vec![0; SIZE]).await;
    }
    (peer, connection, channel, consumer)
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_wait_are_bounded_by_bytes_and_a_pause_is_no_silence_of_the_broker() {
    let (mut peer, connection, channel, mut consumer) = overfull().await;
    let mut purging = Box::pin(channel.purge("jobs"));
    assert!((&mut purging).now_or_never().is_none());
    peer.expect_any::<queue::Purge>(1).await;
    peer.send(1, queue::PurgeOk { message_count: 7 }).await;
    all_idle().await;
    assert!((&mut purging).now_or_never().is_none(), "the answer behind 900 kB was read");
    // This is longer than silence may last.
    for _ in 0..5 {
        peer.expect_heartbeat().await;
    }
    assert!(matches!(connection.state(), State::Open));
    assert!((&mut purging).now_or_never().is_none());
    take(&mut consumer, 18).await;
    assert_eq!(ends(purging).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_all_inboxes_counts_together_until_it_is_handed_out_or_dropped() {
    let (mut peer, _connection, channel, mut first) = overfull().await;
    let held = take(&mut first, 1).await;
    let mut purging = Box::pin(channel.purge("jobs"));
    assert!((&mut purging).now_or_never().is_none());
    peer.expect_any::<queue::Purge>(1).await;
    peer.send(1, queue::PurgeOk { message_count: 7 }).await;
    all_idle().await;
    assert!((&mut purging).now_or_never().is_none(), "all were taken, and one was handed out");
    drop(first);
    assert_eq!(ends(purging).await.unwrap(), 7);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closes_at_once_though_it_does_not_read_for_its_consumers() {
    let (mut peer, connection, _channel, _consumer) = overfull().await;
    all_idle().await;
    let begun = tokio::time::Instant::now();
    let (closed, ()) = join!(connection.close(), async {
        peer.expect_any::<connection::Close>(0).await;
        peer.send(0, connection::CloseOk {}).await;
    });
    closed.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
