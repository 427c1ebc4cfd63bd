//! Messages at the head of a queue that are too large for a client.

use std::{future::ready, time::Duration};

use amqp_broker::Broker;
use amqp_client::{
    Backoff, Channel, ConnectOptions, ConsumeOptions, Error, Event, Events, GetOptions, Message, Queue,
    Recovery, Table, Uri,
};
use amqp_codec::Error as CodecError;
use futures_util::FutureExt as _;
use tests::RabbitMq;
use tokio::time::{Instant, timeout};

use super::{
    script::{self, connected_with, ends, opened, publisher, recovery},
    session::options,
};

/// The longest that the test with RabbitMQ waits for anything.
const SOON: Duration = Duration::from_secs(60);

const FRAME_MAX: u32 = 8 * 1024 * 1024;

/// Publishes a message with headers of 2 MiB, and one without.
async fn publish_large_and_small(publishing: &Channel) {
    let mut headers = Table::new();
    headers.insert("large", "x".repeat(2 * 1024 * 1024)).unwrap();
    publishing.publish(("", "jobs"), Message::new("large").headers(headers)).await.unwrap();
    publishing.publish(("", "jobs"), Message::new("small")).await.unwrap();
}

/// Headers of 2 MiB can only be published with larger frames.
#[tokio::test(start_paused = true)]
async fn headers_over_all_bounds_are_told_and_met_again_after_longer_and_longer_pauses() {
    let broker = Broker::builder().frame_max(FRAME_MAX).build();
    let connector = {
        let broker = broker.clone();
        move || ready(Ok(broker.connect()))
    };
    let generous = ConnectOptions::new().frame_max(FRAME_MAX).heartbeat(Duration::ZERO);
    let generous = generous.connect_stream(broker.connect(), &Uri::default()).await.unwrap();
    let publishing = generous.open_channel().await.unwrap();
    publishing.declare(&Queue::durable("jobs")).await.unwrap();

    let connection = options().connect_with(connector, &Uri::default()).await.unwrap();
    let mut events = connection.events();
    let channel = connection.open_channel().await.unwrap();
    let mut consumer = channel.consume("jobs", ConsumeOptions::new()).await.unwrap();
    publish_large_and_small(&publishing).await;
    for pause in [2, 4, 4, 4] {
        assert_eq!(loss_and_pause(&mut events).await, Duration::from_secs(pause));
    }
    // A client that can take it does.
    let large = loop {
        if let Some(large) = publishing.get("jobs", GetOptions::new()).await.unwrap() {
            break large;
        }
    };
    assert_eq!(large.body(), "large");
    large.ack().await.unwrap();
    let small = ends(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(small.body(), "small");
}

/// RabbitMQ delivers what it has accepted, though this connection has a smaller frame_max.
#[tokio::test]
async fn headers_over_all_bounds_are_told_with_rabbitmq_and_met_again_after_longer_pauses() {
    let test = "recovery::too_large::headers_over_all_bounds_are_told_with_rabbitmq_and_met_again_after_longer_pauses";
    if !RabbitMq::require(test) {
        return;
    }
    let node = RabbitMq::start_with(&format!("frame_max = {FRAME_MAX}"), &[]).await.unwrap();
    let generous = ConnectOptions::new().frame_max(FRAME_MAX).connect(node.uri()).await.unwrap();
    let publishing = generous.open_channel().await.unwrap();
    publishing.declare(&Queue::durable("jobs")).await.unwrap();
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80)).jitter(false);
    let options = options().recovery(Recovery::new().backoff(backoff));
    let connection = options.connect(node.uri()).await.unwrap();
    let mut events = connection.events();
    let channel = connection.open_channel().await.unwrap();
    let mut consumer = channel.consume("jobs", ConsumeOptions::new()).await.unwrap();
    publish_large_and_small(&publishing).await;
    // They grow, from where the first losses may be taken for one, to the longest.
    let mut pauses = Vec::new();
    while pauses.len() < 5 || pauses[pauses.len() - 2] < 80 {
        pauses.push(timeout(SOON, loss_and_pause(&mut events)).await.unwrap().as_millis());
    }
    assert!(pauses.is_sorted() && pauses.iter().all(|pause| [10, 20, 40, 80].contains(pause)), "{pauses:?}");
    let large = timeout(SOON, async {
        loop {
            if let Some(large) = publishing.get("jobs", GetOptions::new()).await.unwrap() {
                return large;
            }
        }
    });
    let large = large.await.unwrap();
    assert_eq!(large.body(), "large");
    large.ack().await.unwrap();
    let small = timeout(SOON, consumer.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(small.body(), "small");
    connection.close().await.unwrap();
    generous.close().await.unwrap();
    node.stop().await.unwrap();
}

/// While there is no connection a message waits for the next one, unless that would refuse it as
/// well.
#[tokio::test(start_paused = true)]
async fn what_no_connection_takes_does_not_wait_for_one() {
    let (mut broker, mut peer, connection) =
        connected_with(&script::options(recovery()).max_message_size(1000)).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    drop(peer);
    broker.refuse().await;
    assert!(!connection.is_open() && !connection.is_closed());
    let now = Instant::now();
    let long = "x".repeat(256);
    let over = publisher.publish(("", "q"), Message::new(vec![0; 1001])).await;
    assert!(matches!(over, Err(Error::PublishTooLarge { size: 1001, limit: 1000 })));
    for (exchange, key) in [("", long.as_str()), (long.as_str(), "")] {
        let named = publisher.publish((exchange, key), Message::new("")).await;
        assert!(matches!(named, Err(Error::Invalid(_))), "{named:?}");
        assert!(matches!(channel.publish((exchange, key), Message::new("")).await, Err(Error::Invalid(_))));
    }
    assert_eq!(now.elapsed(), Duration::ZERO);
    assert!(publisher.publish(("", "q"), Message::new("")).now_or_never().is_none());
}

/// The pause after the next loss, which must be reported with its reason.
async fn loss_and_pause(events: &mut Events) -> Duration {
    let mut is_told = false;
    loop {
        match ends(events.recv()).await.unwrap() {
            Event::Disconnected(Error::Protocol { source: CodecError::FrameTooLarge { .. }, .. }) => {
                is_told = true;
            }
            Event::Disconnected(reason) => panic!("{reason}"),
            Event::Reconnecting { delay, .. } => {
                assert!(is_told);
                return delay;
            }
            _ => {}
        }
    }
}
