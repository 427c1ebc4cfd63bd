//! A broker that confirms some publishes late or never: they are given up and reported, or
//! repeated, and the others do not wait.

use std::time::Duration;

use amqp_broker::{Broker, Faults};
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::{join, join_all, join3},
    stream,
};
use messaging::{
    Error, Exchange, Outcome, Producer, PublishOptions, Published, Queue, RetryPolicy, Transport, Undelivered,
};
use tests::{Cluster, RabbitMq};
use tokio::time::{sleep, timeout};

use super::fixture::within;

/// A broker in memory with a queue `q`, and a producer that has published to it once.
async fn scene(name: &str) -> (Broker, Faults, Producer) {
    let broker = amqp_broker::memory(name);
    let transport = Transport::connect(&format!("memory://{name}")).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let needs = PublishOptions::new().declare(Queue::new("q"));
    producer.ensure_publish(("q", &needs), &0).await.unwrap();
    let faults = broker.faults();
    (broker, faults, producer)
}

fn depth(broker: &Broker) -> usize {
    broker.queues("/").into_iter().find(|queue| queue.name == "q").unwrap().ready
}

fn undelivered(result: Result<Published, Error>) -> Undelivered {
    match result {
        Err(Error::Undelivered(undelivered)) => *undelivered,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_ends_after_its_time_and_the_next_is_made_on_another_channel() {
    let (broker, faults, producer) = scene("attempt-time").await;
    faults.swallow_confirms(1);
    let delivered = producer.ensure_publish("q", &1).await.unwrap();
    assert_eq!(delivered.attempts, 2);
    assert!((10..11).contains(&delivered.elapsed.as_secs()), "{delivered:?}");
    assert_eq!(depth(&broker), 3, "at least once: here it is twice");
    faults.swallow_confirms(1);
    let brief = producer.retry(RetryPolicy::default().attempt_timeout(Duration::from_secs(2)));
    let delivered = brief.ensure_publish("q", &1).await.unwrap();
    assert_eq!((delivered.attempts, delivered.elapsed.as_secs()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_told_as_unknown_by_the_deadline() {
    let (_broker, faults, producer) = scene("never-answered").await;
    faults.swallow_confirms(u64::MAX);
    let error = undelivered(producer.ensure_publish("q", &1).await);
    assert_eq!((error.outcome, error.attempts, error.elapsed.as_secs()), (Outcome::Unknown, 3, 30));
    let once = producer.clone().retry(RetryPolicy::never());
    let error = undelivered(once.ensure_publish("q", &1).await);
    assert_eq!((error.outcome, error.attempts, error.elapsed.as_secs()), (Outcome::Unknown, 1, 30));
    let brief = RetryPolicy::never().attempt_timeout(Duration::from_secs(1));
    let error = undelivered(producer.retry(brief).ensure_publish("q", &1).await);
    assert_eq!((error.outcome, error.attempts, error.elapsed.as_secs()), (Outcome::Unknown, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_meanwhile_is_published_once() {
    let (broker, faults, producer) = scene("others-once").await;
    faults.swallow_confirms(1);
    let first = producer.ensure_publish("q", &1);
    let numbers: Vec<_> = (2..=100).collect();
    let others = join_all(numbers.iter().map(|number| producer.ensure_publish("q", number)));
    let mut times: Vec<_> = Vec::new();
    let (first, others) = join(first, others).await;
    times.extend(others.iter().map(|delivered| delivered.as_ref().unwrap().attempts));
    assert_eq!((first.unwrap().attempts, times), (2, vec![1; 99]));
    assert_eq!(depth(&broker), 102);
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_blocks_no_attempt_is_given_up() {
    let (broker, faults, producer) = scene("blocked-attempt").await;
    let producer = producer.retry(RetryPolicy::default().deadline(Duration::from_secs(60)));
    faults.swallow_confirms(1);
    faults.block("low on memory");
    let publishing = producer.ensure_publish("q", &1);
    let unblocking = async {
        sleep(Duration::from_secs(25)).await;
        assert_eq!(depth(&broker), 1, "the broker has read nothing");
        faults.unblock();
    };
    let (published, ()) = join(publishing, unblocking).await;
    let published = published.unwrap();
    // After 10 and 20 s the broker blocks, and the first attempt goes on. After 30 s the broker has
    // had the message for 5 s and does not answer: only now another attempt is right.
    assert_eq!((published.attempts, published.elapsed.as_secs(), depth(&broker)), (2, 30, 3));
}

#[tokio::test(start_paused = true)]
async fn what_waits_until_the_broker_no_longer_blocks_is_one_attempt() {
    let (broker, faults, producer) = scene("blocked-before").await;
    faults.block("low on memory");
    let publishing = producer.ensure_publish("q", &1);
    let unblocking = async {
        sleep(Duration::from_secs(25)).await;
        assert_eq!(depth(&broker), 1);
        faults.unblock();
    };
    let (published, ()) = join(publishing, unblocking).await;
    let published = published.unwrap();
    assert_eq!((published.attempts, published.elapsed.as_secs(), depth(&broker)), (1, 25, 2));
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_after_one_whose_answer_never_comes() {
    let (broker, faults, producer) = scene("stream-goes-on").await;
    faults.swallow_confirms(1);
    // This is more than a channel may have unanswered.
    let count = 70_000;
    let outcomes: Vec<_> =
        producer.publish_all(stream::iter(0..count).map(|number| ("q", number)), 1000).collect().await;
    let again: u32 = outcomes.into_iter().map(|delivered| delivered.unwrap().attempts - 1).sum();
    assert_eq!(again, 1);
    assert_eq!(depth(&broker), 1 + count + 1);
}

/// The number of attempts of each, which must be delivered within the time of one attempt.
async fn attempts(outcomes: impl Stream<Item = Result<Published, Error>>) -> Vec<u32> {
    let outcomes: Vec<_> = outcomes.map(Result::unwrap).collect().await;
    assert!(outcomes.iter().all(|delivered| delivered.elapsed.as_secs() < 12), "{outcomes:?}");
    outcomes.iter().map(|delivered| delivered.attempts).collect()
}

#[tokio::test(start_paused = true)]
async fn all_of_a_stream_that_are_overdue_are_made_again_at_the_same_time() {
    let (broker, faults, producer) = scene("overdue-stream").await;
    faults.swallow_confirms(1000);
    let messages = stream::iter(0..1000).map(|number| ("q", number));
    assert_eq!(attempts(producer.publish_all(messages, 1000)).await, [2; 1000]);
    assert_eq!(depth(&broker), 1 + 2 * 1000);
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_one_that_is_tried_until_its_deadline_is_made_again_meanwhile() {
    let (_broker, faults, producer) = scene("overdue-behind").await;
    let producer = producer.wait_for_route(true);
    // The first is returned and repeated all the time; those behind it are never answered.
    let behind = async {
        sleep(Duration::from_secs(1)).await;
        faults.swallow_confirms(100);
        stream::iter([("q", 2); 100])
    };
    let messages = stream::iter([("nowhere", 1)]).chain(behind.flatten_stream());
    let mut outcomes = producer.publish_all(messages, 200);
    let first = undelivered(outcomes.next().await.unwrap());
    let attempts = attempts(outcomes).await;
    // The first may have been repeated just then, and lost its answer in place of another.
    let again = attempts.iter().filter(|attempts| **attempts == 2).count();
    let fates = [(Outcome::Unroutable, 100), (Outcome::Unknown, 99)];
    assert!(attempts.len() == 100 && fates.contains(&(first.outcome, again)), "{first:?} {attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_broker_has_blocked_is_not_made_again() {
    let (broker, faults, producer) = scene("blocked-stream").await;
    let producer = producer.retry(RetryPolicy::default().deadline(Duration::from_secs(60)));
    faults.block("low on memory");
    let messages = stream::iter(0..5000).map(|number| ("q", number));
    let outcomes = producer.publish_all(messages, 5000).collect::<Vec<_>>();
    let unblocking = async {
        sleep(Duration::from_secs(25)).await;
        faults.unblock();
    };
    let (outcomes, ()) = join(outcomes, unblocking).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|delivered| delivered.attempts == 1)));
    assert_eq!(depth(&broker), 1 + 5000);
}

#[tokio::test(start_paused = true)]
async fn what_came_back_and_waits_for_its_queue_is_not_with_the_broker() {
    let (_broker, faults, producer) = scene("declared-again").await;
    faults.delete_queue("/", "q");
    // The message is returned within the attempt's time, but the queue is not there again within
    // the rest of it.
    faults.delay_answers(Duration::from_secs(6));
    let once = producer.retry(RetryPolicy::never().deadline(Duration::from_secs(10)));
    let needs = PublishOptions::new().declare(Queue::new("q"));
    let error = undelivered(once.ensure_publish(("q", &needs), &1).await);
    assert_eq!((error.outcome, error.elapsed.as_secs()), (Outcome::NotSent, 10), "{error}");
}

#[tokio::test(start_paused = true)]
async fn confirms_lost_one_by_one_never_fill_the_window() {
    let (_broker, faults, producer) = scene("never-full").await;
    let once = producer.clone().retry(RetryPolicy::never().attempt_timeout(Duration::from_millis(1)));
    for round in 0..70 {
        faults.swallow_confirms(1000);
        let lost = join_all((0..1000).map(|_| once.ensure_publish("q", &round))).await;
        assert!(lost.into_iter().all(|lost| undelivered(lost).outcome == Outcome::Unknown), "{round}");
    }
    assert_eq!(producer.ensure_publish("q", &1).await.unwrap().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_to_set_up_than_an_attempt_may_take_is_set_up_once() {
    let broker = amqp_broker::memory("slow-setup");
    let faults = broker.faults();
    // Each step takes less than an attempt: connecting, a channel, an exchange, confirms, a queue.
    faults.delay_answers(Duration::from_millis(400));
    let transport = Transport::connect("memory://slow-setup").await.unwrap();
    let policy = RetryPolicy::default().attempt_timeout(Duration::from_secs(1));
    let producer = transport.producer(Exchange::direct("slow")).retry(policy);
    let needs = PublishOptions::new().bind(&Queue::new("q"), &Exchange::direct("slow"), "q");
    let others = join_all((0..100).map(|_| producer.ensure_publish(("q", &needs), &1)));
    let mut outcomes = producer.publish_all(stream::iter([("q", 1)]), 1);
    // A caller that does not poll the outcome while it sets up what others need does not delay
    // them.
    assert!(outcomes.next().now_or_never().is_none());
    let delivered: Vec<_> = others.await.into_iter().map(Result::unwrap).collect();
    assert!(delivered.iter().all(|one| (2..=6).contains(&one.attempts)), "{delivered:?}");
    outcomes.next().await.unwrap().unwrap();
    let connections = broker.connections().len();
    assert!((1..=2).contains(&connections), "{connections}");
}

#[tokio::test]
async fn a_quorum_queue_of_rabbitmq_without_a_majority_holds_up_no_other() {
    if !RabbitMq::require(
        "messaging::unanswered::a_quorum_queue_of_rabbitmq_without_a_majority_holds_up_no_other",
    ) {
        return;
    }
    let all = timeout(Duration::from_secs(240), one_without_a_majority_and_another());
    all.await.expect("some are held up");
}

async fn one_without_a_majority_and_another() {
    // With the default setting the last node of a cluster would pause.
    let mut cluster = Cluster::start_with("ignore").await.unwrap();
    let transport = within(Transport::connect(cluster.nodes[0].uri())).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let quorum = PublishOptions::new().declare(Queue::quorum("quorum"));
    let classic = PublishOptions::new().declare(Queue::durable("classic"));
    within(producer.ensure_publish(("quorum", &quorum), &0)).await.unwrap();
    within(producer.ensure_publish(("classic", &classic), &0)).await.unwrap();
    cluster.nodes[1].kill().unwrap();
    cluster.nodes[2].kill().unwrap();
    // The loss may not be known yet; publishes report that they are not confirmed.
    let policy =
        |deadline| RetryPolicy::default().deadline(deadline).attempt_timeout(Duration::from_millis(500));
    let brief = producer.clone().retry(policy(Duration::from_secs(2)));
    let stuck = join_all((0..50).map(|_| brief.ensure_publish("quorum", &1)));
    let stuck_stream = brief.publish_all(stream::iter([("quorum", 1); 50]), 50).collect::<Vec<_>>();
    // RabbitMQ stops reading a connection that has so much for such a queue.
    let other = producer.clone().retry(policy(Duration::from_secs(30)));
    let healthy = stream::iter(0..2000).map(|_| other.ensure_publish("classic", &1));
    let healthy = healthy.buffer_unordered(100).collect::<Vec<_>>();
    let (stuck, stuck_stream, healthy) = join3(stuck, stuck_stream, healthy).await;
    for outcome in stuck.into_iter().chain(stuck_stream) {
        let error = undelivered(outcome);
        assert_eq!(error.outcome, Outcome::Unknown, "{error}");
        assert!(error.attempts > 1, "{error}");
    }
    for outcome in healthy {
        outcome.unwrap();
    }
    // Once it is known, they fail at once, however many they are.
    let stuck = join_all((0..1000).map(|_| brief.ensure_publish("quorum", &1)));
    let healthy = stream::iter(0..2000).map(|_| other.ensure_publish("classic", &1));
    let (stuck, healthy) = join(stuck, healthy.buffer_unordered(100).collect::<Vec<_>>()).await;
    assert!(stuck.into_iter().all(|outcome| outcome.is_err()));
    let failed = healthy.into_iter().find_map(Result::err);
    assert!(failed.is_none(), "{failed:?}");
    // With a majority again it is as before.
    cluster.nodes[1].restart().await.unwrap();
    let patient = producer.retry(policy(Duration::from_secs(60)).attempt_timeout(Duration::from_secs(5)));
    patient.ensure_publish("quorum", &1).await.unwrap();
}
