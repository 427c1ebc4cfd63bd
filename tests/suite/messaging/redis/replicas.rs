//! Publishes that fewer replicas have than they are to have.

use std::time::Duration;

use messaging::{Error, Exchange, Outcome, Queue, RetryPolicy, Transport};
use tests::Redis;

use super::super::fixture::within;

#[tokio::test]
async fn what_too_few_replicas_have_may_be_there_and_is_told_so() {
    let test = "messaging::redis::replicas::what_too_few_replicas_have_may_be_there_and_is_told_so";
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let url = format!("{}?wait_replicas=1&wait_replicas_timeout=0.05", redis.url(0));
    let transport = within(Transport::connect(&url)).await.unwrap();
    let mut queue = within(transport.consumer(Queue::new("jobs")).start::<u32>()).await.unwrap();
    let once = RetryPolicy::never();
    let twice = RetryPolicy::exponential(Duration::ZERO, Duration::ZERO).attempts(2);
    for (number, policy) in [(1, once), (2, twice)] {
        let producer = transport.producer(Exchange::default()).retry(policy);
        let Err(Error::Undelivered(told)) = within(producer.ensure_publish("jobs", &number)).await else {
            panic!("no replica has it");
        };
        assert_eq!((told.outcome, told.attempts), (Outcome::Unknown, number), "{told}");
        for _ in 0..number {
            let delivery = within(queue.recv()).await.unwrap().unwrap();
            assert_eq!(delivery.body(), &number);
            delivery.ack().await.unwrap();
        }
    }
    within(transport.close()).await.unwrap();
}
