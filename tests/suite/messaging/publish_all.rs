//! Publishing a series of messages: outcomes are reported in order, whatever happens to others.

use std::time::Duration;

use amqp_broker::{Broker, Listener};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use messaging::{Error, Exchange, Outcome, Producer, Published, Queue, RetryPolicy, Transport};

use super::fixture::within;

struct Scene {
    broker: Broker,
    transport: Transport,
    #[expect(dead_code, reason = "listens until dropped")]
    listener: Listener,
}

/// A broker with a queue `q`.
async fn scene() -> Scene {
    let broker = Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let transport = Transport::connect(&format!("amqp://{}/", listener.local_addr())).await.unwrap();
    drop(transport.consumer(Queue::new("q")).start::<u32>().await.unwrap());
    Scene { broker, transport, listener }
}

impl Scene {
    fn producer(&self) -> Producer {
        let policy = RetryPolicy::exponential(Duration::from_millis(5), Duration::from_millis(50));
        self.transport.producer(Exchange::default()).mandatory(true).retry(policy)
    }

    async fn bodies(&self, count: usize) -> Vec<u32> {
        let mut consumer = self.transport.consumer(Queue::new("q")).start::<u32>().await.unwrap();
        let mut bodies = Vec::new();
        for _ in 0..count {
            let delivery = within(consumer.recv()).await.unwrap().unwrap();
            bodies.push(*delivery.body());
            delivery.ack().await.unwrap();
        }
        bodies
    }
}

fn outcome(result: &Result<Published, Error>) -> Option<Outcome> {
    match result {
        Ok(_) => None,
        Err(Error::Undelivered(undelivered)) => Some(undelivered.outcome),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn outcomes_come_in_order_though_some_are_unroutable_or_no_json() {
    let scene = scene().await;
    let key = |number: u32| if number.is_multiple_of(3) { "nowhere" } else { "q" };
    let messages = stream::iter(0..30).map(|number| (key(number), number));
    let producer = scene.producer();
    let outcomes: Vec<_> = within(producer.publish_all(messages, 8).collect()).await;
    let unroutable: Vec<_> = outcomes.iter().map(|result| outcome(result).is_some()).collect();
    assert_eq!(unroutable, (0..30).map(|number| number % 3 == 0).collect::<Vec<_>>());
    assert_eq!(scene.bodies(20).await, (0..30).filter(|number| number % 3 != 0).collect::<Vec<_>>());
    // JSON allows only text as keys of a map.
    let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
    let mut failing = producer.publish_all(stream::iter([("q", unwritable)]), 8);
    assert!(matches!(within(failing.next()).await, Some(Err(Error::Encode { .. }))));
    assert!(within(failing.next()).await.is_none());
}

#[tokio::test]
async fn what_is_rejected_is_tried_again_and_the_others_are_not() {
    let scene = scene().await;
    scene.broker.faults().nack_publishes(5);
    let producer = scene.producer();
    let outcomes: Vec<_> =
        within(producer.publish_all(stream::iter(0..20).map(|number| ("q", number)), 20).collect()).await;
    let again = outcomes.iter().map(|result| u32::from(result.as_ref().unwrap().attempts > 1)).sum::<u32>();
    assert_eq!(outcomes.len(), 20);
    assert!((1..=5).contains(&again), "{again}");
    let mut bodies = scene.bodies(20).await;
    bodies.sort_unstable();
    assert_eq!(bodies, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_ends_by_its_deadline_when_the_broker_says_nothing() {
    let scene = scene().await;
    let producer = scene.producer();
    let open = producer.publish_all(stream::iter([("q", 0)]), 1);
    assert_eq!(within(open.collect::<Vec<_>>()).await.len(), 1);
    scene.broker.faults().swallow_confirms(u64::MAX);
    let brief = producer.clone().retry(RetryPolicy::default().deadline(Duration::from_millis(100)));
    let silent = brief.publish_all(stream::iter(1..=10).map(|number| ("q", number)), 4);
    let outcomes: Vec<_> = within(silent.collect()).await;
    assert_eq!(outcomes.len(), 10);
    assert!(outcomes.iter().all(|result| outcome(result) == Some(Outcome::Unknown)));
    assert_eq!(scene.bodies(11).await, (0..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_without_messages_ends_and_one_that_waits_is_waited_for() {
    let scene = scene().await;
    let producer = scene.producer();
    let mut none = producer.publish_all(stream::empty::<(&str, u32)>(), 8);
    assert!(within(none.next()).await.is_none());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<u32>();
    let receiver = stream::unfold(receiver, async |mut receiver| {
        let number = receiver.recv().await?;
        Some((("q", number), receiver))
    });
    let mut slow = producer.publish_all(receiver, 8);
    for number in 0..3 {
        assert!(slow.next().now_or_never().is_none());
        sender.send(number).unwrap();
        within(slow.next()).await.unwrap().unwrap();
    }
    drop(sender);
    assert!(within(slow.next()).await.is_none());
}

#[tokio::test]
async fn messages_keep_their_order_where_there_is_seldom_room() {
    let scene = scene().await;
    let producer = scene.producer();
    // These are more bytes than the connection has room for at once.
    let body = "x".repeat(1 << 20);
    let messages = stream::iter(0..100u32).map(|number| ("q", (number, body.as_str())));
    let outcomes: Vec<_> = within(producer.publish_all(messages, 100).collect()).await;
    assert!(outcomes.iter().all(|result| outcome(result).is_none()));
    let queue = scene.transport.consumer(Queue::new("q"));
    let mut consumer = queue.start::<(u32, String)>().await.unwrap();
    for number in 0..100 {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body().0, number);
        delivery.ack().await.unwrap();
    }
}
