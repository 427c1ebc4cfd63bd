//! `ensure_publish` on a broker with each kind of fault: outcome and number of attempts are right
//! each time.

use amqp_client::DeleteOptions;
use std::time::Duration;

use amqp_broker::{Broker, Direction, Faults, Listener};
use futures_util::{StreamExt as _, stream};
use messaging::{
    Error, Exchange, Outcome, PublishOptions, Published, Queue, RetryPolicy, Transport, Undelivered,
};

use super::fixture::within;

struct Failing {
    broker: Broker,
    faults: Faults,
    transport: Transport,
    #[expect(dead_code, reason = "listens until dropped")]
    listener: Listener,
}

/// A broker without faults so far: the queue `q` exists, and a message was published.
async fn failing() -> Failing {
    let broker = Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let transport = Transport::connect(&format!("amqp://{}/", listener.local_addr())).await.unwrap();
    let faults = broker.faults();
    let failing = Failing { broker, faults, transport, listener };
    failing.publish(policy()).await.unwrap();
    failing
}

fn policy() -> RetryPolicy {
    RetryPolicy::exponential(Duration::from_millis(5), Duration::from_millis(50))
}

impl Failing {
    async fn publish(&self, policy: RetryPolicy) -> Result<Published, Error> {
        let producer = self.transport.producer(Exchange::default()).retry(policy);
        let needs = PublishOptions::new().declare(Queue::new("q"));
        within(producer.ensure_publish(("q", &needs), &1)).await
    }

    /// How many messages are in the queue, without the first.
    fn depth(&self) -> usize {
        let queue = self.broker.queues("/").into_iter().find(|queue| queue.name == "q").unwrap();
        queue.ready - 1
    }
}

fn undelivered(result: Result<Published, Error>) -> Undelivered {
    match result {
        Err(Error::Undelivered(undelivered)) => *undelivered,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_nack_is_tried_again_and_told_when_there_is_no_end_of_them() {
    let failing = failing().await;
    failing.faults.nack_publishes(2);
    assert_eq!(failing.publish(policy()).await.unwrap().attempts, 3);
    assert_eq!(failing.depth(), 1);
    failing.faults.nack_publishes(u64::MAX);
    let error = undelivered(failing.publish(policy().attempts(4)).await);
    assert_eq!((error.outcome, error.attempts), (Outcome::Rejected, 4));
    assert_eq!(failing.depth(), 1, "what was rejected is not there");
}

#[tokio::test]
async fn a_broker_that_dies_between_publish_and_confirm_gets_it_again() {
    let failing = failing().await;
    failing.faults.swallow_confirms(1);
    let publishing = failing.publish(policy());
    let killing = async {
        while failing.depth() == 0 {
            tokio::task::yield_now().await;
        }
        failing.faults.drop_connections();
    };
    let (delivered, ()) = tokio::join!(publishing, killing);
    assert_eq!(delivered.unwrap().attempts, 2);
    assert_eq!(failing.depth(), 2, "at least once: here it is twice");
}

#[tokio::test]
async fn when_it_is_not_known_whether_the_broker_has_it_that_is_said() {
    let failing = failing().await;
    failing.faults.swallow_confirms(u64::MAX);
    let error = undelivered(failing.publish(policy().deadline(Duration::from_millis(300))).await);
    assert_eq!((error.outcome, error.attempts), (Outcome::Unknown, 1));
    assert!(matches!(error.source.as_deref(), Some(Error::Timeout { .. })), "{error}");
    assert_eq!(failing.depth(), 1);
}

#[tokio::test]
async fn while_the_broker_blocks_it_waits_and_ends_by_its_deadline() {
    let failing = failing().await;
    failing.faults.block("low on memory");
    let brief = policy().deadline(Duration::from_millis(300));
    // A publish that was on its way when the broker blocked may have left, so its outcome is
    // unknown. The next ones wait here.
    let first = undelivered(failing.publish(brief).await);
    assert!(matches!(first.outcome, Outcome::NotSent | Outcome::Unknown), "{first}");
    let error = undelivered(failing.publish(brief).await);
    assert_eq!(error.outcome, Outcome::NotSent);
    let publishing = failing.publish(policy());
    let (delivered, ()) = tokio::join!(publishing, async { failing.faults.unblock() });
    assert_eq!(delivered.unwrap().attempts, 1);
    assert_eq!(failing.depth(), if first.outcome == Outcome::Unknown { 2 } else { 1 });
}

#[tokio::test]
async fn a_queue_and_an_exchange_that_were_deleted_are_declared_again() {
    let failing = failing().await;
    failing.faults.delete_queue("/", "q");
    assert_eq!(failing.publish(policy()).await.unwrap().attempts, 1, "it came back, and went again");
    let exchange = Exchange::topic("e");
    let needs = PublishOptions::new().bind(&Queue::new("q"), &exchange, "#");
    let producer = failing.transport.producer(exchange).retry(policy());
    within(producer.ensure_publish(("k", &needs), &1)).await.unwrap();
    let other = amqp_client::ConnectOptions::new();
    let other = other.connect_stream(failing.broker.connect(), &amqp_client::Uri::default()).await.unwrap();
    other.open_channel().await.unwrap().delete_exchange("e", DeleteOptions::new()).await.unwrap();
    let delivered = within(producer.ensure_publish(("k", &needs), &2)).await.unwrap();
    assert_eq!(delivered.attempts, 2, "a missing exchange ends the channel");
    assert_eq!(failing.depth(), 2);
}

#[tokio::test]
async fn a_broker_that_is_not_there_at_first_is_waited_for() {
    let failing = failing().await;
    failing.faults.refuse_connections(3);
    failing.faults.drop_connections();
    let delivered = failing.publish(policy()).await.unwrap();
    assert!(delivered.attempts > 3, "{delivered:?}");
    assert_eq!(failing.depth(), 1);
}

/// The size of the ledger; run by hand with `MESSAGING_LEDGER=100000`.
fn ledger_size() -> u32 {
    std::env::var("MESSAGING_LEDGER").ok().and_then(|size| size.parse().ok()).unwrap_or(10_000)
}

#[tokio::test]
async fn nothing_confirmed_is_lost_though_the_broker_drops_all_connections_twenty_times() {
    const KILLS: u32 = 20;
    let size = ledger_size();
    let failing = failing().await;
    let producer = failing.transport.producer(Exchange::default()).mandatory(true).retry(policy());
    let mut publishing = producer.publish_all(stream::iter(0..size).map(|number| ("q", number)), 200);
    let (mut kills, mut again) = (0, 0);
    for number in 0..size {
        if number % (size / KILLS) == size / KILLS / 2 {
            // The kill comes amid publishes, and every other time soon after the next connection.
            if kills % 2 == 1 {
                failing.faults.drop_at_frame(Direction::In, u64::from(fastrand::u32(1..500)));
            }
            failing.faults.drop_connections();
            kills += 1;
        }
        let delivered = tokio::time::timeout(Duration::from_secs(60), publishing.next()).await.unwrap();
        again += u32::from(delivered.unwrap().unwrap().attempts > 1);
    }
    assert!(again >= KILLS, "each hit some that were under way");
    assert_eq!(kills, KILLS);
    drop(publishing);
    // The last one may not have reached its frame.
    failing.faults.clear();
    let total = failing.depth() + 1;
    let mut times = vec![0u32; size as usize];
    let mut consumer =
        failing.transport.consumer(Queue::new("q")).prefetch(1000).start::<u32>().await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    for _ in 1..total {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        times[*delivery.body() as usize] += 1;
        delivery.ack().await.unwrap();
    }
    let missing = times.iter().filter(|times| **times == 0).count();
    let twice = times.iter().filter(|times| **times > 1).count();
    assert_eq!(missing, 0, "of {size} confirmed");
    println!(
        "{size} confirmed, {kills} kills: none lost, {again} published more than once, {twice} there more than once"
    );
}
