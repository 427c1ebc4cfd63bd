//! Retries by the broker's own delays, where it has them, and by other queues where it has not.

use std::time::Duration;

use amqp_broker::RabbitMq;
use amqp_client::{ConsumeOptions, DeleteOptions, Message, Properties};
use amqp_codec::Table;
use messaging::{Incoming, OnFailure, Queue, RetryLater, Transport, Worker};
use tokio::sync::mpsc;

use super::fixture::{Broker, within};

const PAUSE: Duration = Duration::from_millis(20);

/// A queue that asks for pauses of 20 and 40 ms.
fn delaying(name: &str) -> Queue {
    Queue::quorum(name).delayed_retry(PAUSE, 2 * PAUSE)
}

/// Fails on each message; tells its text, how often it was retried, and whether it came again.
async fn failing(
    transport: &Transport,
    queue: Queue,
    later: RetryLater,
) -> (Worker, mpsc::UnboundedReceiver<(String, u32, bool)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let worker = transport.worker(queue).on_failure(OnFailure::Retry(later));
    let worker = worker.start(move |message: Incoming<String>| {
        let seen = (message.body().clone(), message.retries(), message.redelivered());
        _ = tell.send(seen);
        async { Err::<(), _>("on purpose") }
    });
    (within(worker).await.unwrap(), told)
}

async fn publish(broker: &Broker, queue: &str, properties: Properties) {
    let message = Message::with_properties("x", properties);
    within(broker.channel().await.publish(("", queue), message)).await.unwrap();
}

async fn exists(broker: &Broker, queue: &str) -> bool {
    broker.channel().await.declare(Queue::new(queue).passive(true)).await.is_ok()
}

/// Waits for the message that was set aside, and returns its headers.
async fn set_aside(broker: &Broker, queue: &str) -> Table {
    let channel = broker.channel().await;
    let mut consumer = channel.consume(queue, ConsumeOptions::new()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    delivery.properties().unwrap().headers.unwrap_or_default()
}

#[tokio::test]
async fn a_broker_that_delays_retries_itself_needs_no_other_queues() {
    let broker = Broker::like(RabbitMq::V4_3).await;
    let (queue, transport) = (broker.name("q"), broker.transport().await);
    let later = RetryLater::after(Duration::from_millis(7)).limit(2).dead_letter(true);
    let (worker, mut told) = failing(&transport, delaying(&queue), later).await;
    // A publisher's word on deliveries counts for nothing.
    let mut headers = Table::new();
    headers.insert("x-delivery-count", 40).unwrap();
    publish(&broker, &queue, Properties { headers: Some(headers), ..Properties::default() }).await;
    for retries in 0..=2 {
        assert_eq!(within(told.recv()).await.unwrap(), ("x".to_owned(), retries, retries > 0));
    }
    let headers = set_aside(&broker, &format!("{queue}.dead")).await;
    assert_eq!(headers.get("x-retry-count").unwrap().as_i64(), Some(3));
    assert_eq!(headers.get("x-failure").unwrap().as_str(), Some("on purpose"));
    for pause in [7, 14, 20, 40] {
        assert!(!exists(&broker, &format!("{queue}.retry.{pause}")).await, "{pause}");
    }
    assert!(exists(&broker, &queue).await);
    within(worker.stop()).await;
}

#[tokio::test]
async fn a_delivery_limit_below_the_retries_loses_no_message() {
    let broker = Broker::like(RabbitMq::V4_3).await;
    let (queue, transport) = (broker.name("q"), broker.transport().await);
    let later = RetryLater::after(PAUSE).limit(2).dead_letter(true);
    let (worker, mut told) = failing(&transport, delaying(&queue).delivery_limit(1), later).await;
    publish(&broker, &queue, Properties::default()).await;
    for retries in 0..=2 {
        assert_eq!(within(told.recv()).await.unwrap(), ("x".to_owned(), retries, false));
    }
    set_aside(&broker, &format!("{queue}.dead")).await;
    assert!(exists(&broker, &format!("{queue}.retry.20")).await);
    within(worker.stop()).await;
}

/// Brokers without delays ignore the arguments that ask for them.
async fn retries_by_other_queues(broker: Broker) {
    let (queue, transport) = (broker.name("q"), broker.transport().await);
    let later = RetryLater::after(PAUSE).limit(1).dead_letter(true);
    let (worker, mut told) = failing(&transport, delaying(&queue), later).await;
    publish(&broker, &queue, Properties::default()).await;
    for retries in 0..=1 {
        let (text, count, _) = within(told.recv()).await.unwrap();
        assert_eq!((&*text, count), ("x", retries));
    }
    set_aside(&broker, &format!("{queue}.dead")).await;
    assert!(exists(&broker, &format!("{queue}.retry.20")).await);
    within(worker.stop()).await;
    let channel = broker.channel().await;
    for queue in [queue.clone(), format!("{queue}.dead"), format!("{queue}.retry.20")] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

#[tokio::test]
async fn earlier_versions_retry_by_other_queues() {
    for version in [RabbitMq::V3_10, RabbitMq::V4_0, RabbitMq::V4_2] {
        retries_by_other_queues(Broker::like(version).await).await;
    }
}

#[tokio::test]
async fn rabbitmq_before_4_3_retries_by_other_queues() {
    if let Some(broker) = Broker::rabbitmq("rabbitmq_before_4_3_retries_by_other_queues") {
        retries_by_other_queues(broker).await;
    }
}
