//! The connection to Redis is cut between a publish, which Redis has, and its answer.

use std::{sync::Arc, time::Duration};

use messaging::{Consumer, Error, Exchange, Outcome as Known, Producer, Queue, RetryPolicy, Transport};
use tests::{Direction, Ledger, Outcome, Proxy, Redis};
use tokio::time::sleep;

use super::super::fixture::within;

const QUEUE: &str = "ledger";
const MESSAGES: usize = 60;

/// Publishes a message in attempts of their own until one may have reached Redis; returns its
/// outcome. Of those whose outcome is unknown, which it counts, every other one is published again.
async fn publish(ledger: &Ledger, producer: &Producer, number: u64, unknown: &mut usize) -> Outcome {
    loop {
        match within(producer.ensure_publish(QUEUE, &number)).await {
            Ok(_) => return Outcome::Confirmed,
            Err(Error::Undelivered(undelivered)) if undelivered.outcome == Known::Unknown => {
                *unknown += 1;
                if *unknown % 2 == 1 {
                    return Outcome::Lost;
                }
                ledger.published_again(number);
            }
            Err(Error::Undelivered(undelivered)) => assert_eq!(undelivered.outcome, Known::NotSent),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Handles messages for ever.
async fn handle(ledger: Arc<Ledger>, transport: Transport) {
    let mut consumer: Consumer<u64> = transport.consumer(Queue::new(QUEUE)).start().await.unwrap();
    while let Some(delivery) = consumer.recv().await {
        let delivery = delivery.unwrap();
        let receipt = ledger.deliver(*delivery.body(), delivery.redelivered());
        delivery.ack().await.unwrap();
        ledger.ack(receipt, true);
    }
}

#[tokio::test]
async fn a_cut_before_the_answer_is_told_as_unknown_and_nothing_else_comes_twice() {
    let test =
        "messaging::redis::cuts::a_cut_before_the_answer_is_told_as_unknown_and_nothing_else_comes_twice";
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let proxy = Proxy::start(format!("127.0.0.1:{}", redis.port())).await.unwrap();
    let transport = within(Transport::connect(&format!("redis://{}/0", proxy.addr()))).await.unwrap();
    let direct = within(Transport::connect(&redis.url(0))).await.unwrap();
    let ledger = Arc::new(Ledger::new());
    let handling = tokio::spawn(handle(Arc::clone(&ledger), direct.clone()));
    let once = RetryPolicy::never().deadline(Duration::from_secs(60));
    let producer = transport.producer(Exchange::default()).retry(once);
    let mut unknown = 0;
    for nth in 0..MESSAGES {
        // Redis has the message when it answers. Of the answer one octet arrives.
        if nth % 2 == 1 {
            proxy.cut_after(1, Direction::ToClient);
        }
        let number = ledger.publish(false);
        let outcome = publish(&ledger, &producer, number, &mut unknown).await;
        ledger.settle(number, outcome);
    }
    let is_done = async {
        while !ledger.is_complete()
            || redis.ask(&format!("LLEN {QUEUE}")).await.unwrap() != ":0\r\n"
            || redis.ask("HLEN unacked").await.unwrap() != ":0\r\n"
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(is_done).await;
    // It refuses what came twice and was not published again, as one that was not told as unknown.
    let summary = ledger.check();
    println!("{summary}");
    assert_eq!(summary.published, MESSAGES);
    assert_eq!(summary.confirmed + summary.lost, MESSAGES, "{summary}");
    assert_eq!((summary.undelivered, summary.redelivered), (0, 0), "{summary}");
    assert!(summary.lost_and_delivered > 0 && summary.published_twice > 0, "no cut met a publish: {summary}");
    handling.abort();
    within(transport.close()).await.unwrap();
    within(direct.close()).await.unwrap();
}
