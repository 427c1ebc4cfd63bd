//! A Redis refuses what it does not have, by its name.

use messaging::{Error, Exchange, Queue, Report, Transport};
use tests::Redis;

use super::super::fixture::within;

/// Checks an error: the code of what is not implemented, and the name of it.
fn names(error: &Error, what: &str) {
    let text = Report(error).to_string();
    assert!(text.contains("540") || text.contains("NOT_IMPLEMENTED"), "{text}");
    assert!(text.contains(what), "{what}: {text}");
}

#[tokio::test]
async fn queues_and_exchanges_that_a_redis_does_not_have_are_refused_by_name() {
    let test =
        concat!(module_path!(), "::queues_and_exchanges_that_a_redis_does_not_have_are_refused_by_name");
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let transport = within(Transport::connect(&redis.url(0))).await.unwrap();
    for (what, queue) in [
        ("x-max-length", Queue::durable("bounded").max_length(10)),
        ("x-max-length-bytes", Queue::durable("small").max_length_bytes(10)),
        ("x-queue-type", Queue::quorum("safe")),
        ("x-queue-type", Queue::stream("log")),
        ("x-single-active-consumer", Queue::durable("one").arg("x-single-active-consumer", true).unwrap()),
        ("x-dead-letter-exchange", Queue::durable("dying").arg("x-dead-letter-exchange", "dlx").unwrap()),
    ] {
        let refused = within(transport.consumer(queue).start::<u32>()).await;
        names(&refused.unwrap_err(), what);
    }
    for (what, exchange) in [
        ("headers", Exchange::headers("h")),
        ("alternate-exchange", Exchange::direct("d").arg("alternate-exchange", "other").unwrap()),
    ] {
        let refused = within(transport.producer(exchange).ensure_publish("k", &1)).await;
        names(&refused.unwrap_err(), what);
    }
    // Each was the matter of who asked.
    within(transport.producer(Exchange::default()).ensure_publish("q", &1)).await.unwrap();
    assert_eq!(transport.metrics().reconnects, 0);
    within(transport.close()).await.unwrap();
}
