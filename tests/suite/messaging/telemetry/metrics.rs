//! The metrics of producers, consumers and connections.

use amqp_broker::Broker as Embedded;
use amqp_client::{Event, Queue};
use messaging::{Exchange, Incoming, PublishOptions};

use super::recorded::Recorded;
use crate::messaging::fixture::{Broker, within};

const OPERATIONS: &str = "messaging.client.operation.duration";

#[tokio::test]
async fn messages_are_counted_and_their_operations_timed() {
    let (broker, recorded) = (Broker::embedded().await, Recorded::new());
    let (transport, exchange) = (recorded.transport(&broker).await, Exchange::topic("x"));
    let worker = transport.worker(Queue::new("q")).bind(&exchange, "#");
    let handler = |number: Incoming<u32>| async move {
        if number.body().is_multiple_of(2) { Ok(()) } else { Err("odd") }
    };
    let worker = within(worker.start(handler)).await.unwrap();
    let producer = transport.producer(exchange);
    for number in 0..4_u32 {
        within(producer.ensure_publish(&format!("key.{number}"), &number)).await.unwrap();
    }
    within(transport.producer(Exchange::default()).ensure_publish("nobody", &1)).await.unwrap_err();
    for (number, settled) in ["ack", "nack", "ack", "nack"].into_iter().enumerate() {
        recorded.some(1, &format!("{settled} x:key.{number}:q")).await;
    }
    within(worker.stop()).await;

    let port = broker.url.rsplit(':').next().unwrap().trim_end_matches('/');
    let to_x = [
        ("messaging.system", "rabbitmq"),
        ("messaging.destination.name", "x"),
        ("messaging.operation.name", "publish"),
        ("server.address", "127.0.0.1"),
        ("server.port", port),
    ];
    let from_q = [("messaging.destination.name", "q"), ("messaging.operation.name", "process")];
    let (odd, unroutable) = (("error.type", "handler_failed"), ("error.type", "unroutable"));
    for (metric, attributes, expected) in [
        ("messaging.client.sent.messages", &to_x[..], 4.0),
        ("messaging.client.sent.messages", &[unroutable, ("messaging.destination.name", "nobody")], 1.0),
        ("messaging.client.consumed.messages", &from_q, 4.0),
        ("messaging.client.consumed.messages", &[odd], 2.0),
        ("messaging.process.duration", &from_q, 4.0),
        ("messaging.process.duration", &[from_q[0], odd], 2.0),
        (OPERATIONS, &to_x, 4.0),
        (OPERATIONS, &[("messaging.operation.name", "ack")], 2.0),
        (OPERATIONS, &[("messaging.operation.name", "nack")], 2.0),
    ] {
        assert_eq!(recorded.total(metric, attributes), expected, "{metric} {attributes:?}");
    }
    // One name for each queue or exchange: routing keys would be too many.
    assert_eq!(recorded.metric("messaging.process.duration").len(), 2);
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open_and_when_they_come_back() {
    let (broker, recorded) = (Broker::embedded().await, Recorded::new());
    let (proxy, url) = broker.proxied().await;
    let transport = within(recorded.options().connect(&url)).await.unwrap();
    let mut consumer = within(transport.consumer(Queue::new("q")).start::<u32>()).await.unwrap();
    let open = |role| recorded.total("amqp.client.connections", &[("amqp.client.connection.role", role)]);
    assert_eq!((open("publish"), open("consume"), open("stream")), (1.0, 1.0, 0.0));
    let reconnects = || recorded.total("amqp.client.reconnects", &[]);
    assert_eq!(reconnects(), 0.0);
    proxy.cut();
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish("q", &1)).await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    let recovered = async {
        while reconnects() < 2.0 || open("consume") != 1.0 || open("publish") != 1.0 {
            tokio::task::yield_now().await;
        }
    };
    within(recovered).await;
    within(transport.close()).await.unwrap();
    assert_eq!((open("publish"), open("consume")), (0.0, 0.0));
}

#[tokio::test]
async fn the_time_for_which_the_broker_blocks_is_counted() {
    let (broker, recorded) = (Embedded::builder().build(), Recorded::new());
    let transport = recorded.options().on(&broker);
    let mut events = transport.events();
    let needs = PublishOptions::new().declare(Queue::new("q"));
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish(("q", &needs), &1)).await.unwrap();
    broker.faults().block("low on memory");
    let (published, ()) = tokio::join!(within(producer.ensure_publish("q", &2)), async {
        while !matches!(within(events.recv()).await.unwrap().event, Event::Blocked(_)) {}
        broker.faults().unblock();
    });
    published.unwrap();
    while !matches!(within(events.recv()).await.unwrap().event, Event::Unblocked) {}
    let role = [("amqp.client.connection.role", "publish")];
    assert!(recorded.total("amqp.client.blocked.time", &role) > 0.0);
}

#[tokio::test]
async fn a_message_that_was_never_sent_is_not_counted_as_sent() {
    let (broker, recorded) = (Broker::memory(), Recorded::new());
    let transport = recorded.transport(&broker).await;
    let producer = transport.producer(Exchange::default());
    let needs = PublishOptions::new().declare(Queue::new("q").max_length(5));
    within(producer.ensure_publish(("q", &needs), &1)).await.unwrap();
    let others = PublishOptions::new().declare(Queue::new("q").max_length(7));
    within(producer.ensure_publish(("q", &others), &2)).await.unwrap_err();
    assert_eq!(recorded.total(OPERATIONS, &[("error.type", "not_sent")]), 1.0);
    assert_eq!(recorded.total("messaging.client.sent.messages", &[]), 1.0);
}
