//! The promises of `ensure_publish`.

use amqp_client::{DeleteOptions, GetOptions};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use messaging::{
    Error, Exchange, Outcome, Queue, Report, RetryPolicy, Transport, TransportOptions, Undelivered,
};
use tests::Proxy;

use super::{
    fixture::{Broker, impatient, within},
    on_every_broker_and_redis,
};

/// A proxy before an embedded broker, and a transport through it.
async fn through_a_proxy(broker: &Broker) -> (Proxy, Transport) {
    let address = broker.url.trim_start_matches("amqp://guest:guest@").trim_end_matches('/');
    let proxy = Proxy::start(address).await.unwrap();
    let url = format!("amqp://guest:guest@{}/", proxy.addr());
    (proxy, TransportOptions::new().lazy(&url).unwrap())
}

fn failure(result: Result<messaging::Published, Error>) -> Undelivered {
    match result {
        Err(Error::Undelivered(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}

async fn what_is_confirmed_is_in_the_queue(broker: Broker) {
    let transport = broker.transport().await;
    let exchange = Exchange::topic(broker.name("tasks")).auto_delete(true);
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let mut consumer = transport.consumer(queue).bind(&exchange, "math.*").start::<u32>().await.unwrap();

    let producer = &transport.producer(exchange).mandatory(true);
    let published =
        stream::iter(0..1000).map(|n| async move { producer.ensure_publish("math.add", &n).await });
    let published: Vec<_> = within(published.buffer_unordered(100).collect()).await;
    assert!(published.iter().all(|published| matches!(published, Ok(delivered) if delivered.attempts == 1)));

    let mut numbers = Vec::new();
    while numbers.len() < 1000 {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.routing_key(), "math.add");
        numbers.push(*delivery.body());
        delivery.ack().await.unwrap();
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000));
    transport.close().await.unwrap();
}

async fn a_mandatory_message_without_a_queue_is_unroutable_at_once(broker: Broker) {
    let transport = broker.transport().await;
    let producer = transport.producer(Exchange::topic(broker.name("x")).auto_delete(true));
    within(producer.ensure_publish("a.b", &1)).await.unwrap();
    let failure = failure(within(producer.mandatory(true).ensure_publish("a.b", &1)).await);
    assert_eq!((failure.outcome, failure.attempts), (Outcome::Unroutable, 1));
    assert!(failure.to_string().contains("\"a.b\""), "{failure}");
    transport.close().await.unwrap();
}

async fn a_producer_that_waits_for_a_route_delivers_when_there_is_one(broker: Broker) {
    let transport = broker.transport().await;
    let exchange = Exchange::topic(broker.name("x"));
    let producer =
        transport.producer(exchange.clone()).mandatory(true).wait_for_route(true).retry(impatient());
    let publishing = tokio::spawn(async move { producer.ensure_publish("a.b", &1).await });
    let queue = Queue::new(broker.name("q")).auto_delete(true);
    let mut consumer = transport.consumer(queue).bind(&exchange, "#").start::<u32>().await.unwrap();
    within(publishing).await.unwrap().unwrap();
    assert_eq!(*within(consumer.recv()).await.unwrap().unwrap().body(), 1);
    transport.close().await.unwrap();
}

async fn an_exchange_that_was_deleted_is_declared_again(broker: Broker) {
    let transport = broker.transport().await;
    let exchange = Exchange::fanout(broker.name("x"));
    let producer = transport.producer(exchange.clone()).retry(impatient());
    within(producer.ensure_publish("", &1)).await.unwrap();
    broker.channel().await.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
    let delivered = within(producer.ensure_publish("", &1)).await.unwrap();
    assert_eq!(delivered.attempts, 2);
    broker.channel().await.declare(exchange.clone().passive(true)).await.unwrap();
    transport.close().await.unwrap();
}

async fn an_exchange_that_exists_otherwise_is_an_error_at_once(broker: Broker) {
    let transport = broker.transport().await;
    let name = broker.name("x");
    broker.channel().await.declare(&Exchange::fanout(&name)).await.unwrap();
    let failure = failure(within(transport.producer(Exchange::topic(&name)).ensure_publish("k", &1)).await);
    assert_eq!((failure.outcome, failure.attempts), (Outcome::NotSent, 1));
    let Some(Error::Conflict(conflict)) = failure.source.as_deref() else { panic!("{failure}") };
    assert_eq!((conflict.wanted.as_str(), conflict.existing.as_str()), ("topic", "fanout"));
    transport.close().await.unwrap();
}

async fn a_queue_that_is_full_rejects(broker: Broker) {
    let transport = broker.transport().await;
    let queue = Queue::new(broker.name("q"))
        .auto_delete(true)
        .arg("x-max-length", 1)
        .and_then(|queue| queue.arg("x-overflow", "reject-publish"))
        .unwrap();
    let channel = broker.channel().await;
    channel.declare(&queue).await.unwrap();
    let producer = transport.producer(Exchange::default()).retry(impatient().attempts(3));
    within(producer.ensure_publish(queue.name(), &1)).await.unwrap();
    let failure = failure(within(producer.ensure_publish(queue.name(), &1)).await);
    assert_eq!((failure.outcome, failure.attempts), (Outcome::Rejected, 3));
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    what_is_confirmed_is_in_the_queue,
    a_mandatory_message_without_a_queue_is_unroutable_at_once,
    a_producer_that_waits_for_a_route_delivers_when_there_is_one,
    an_exchange_that_was_deleted_is_declared_again,
    an_exchange_that_exists_otherwise_is_an_error_at_once;
    a_queue_that_is_full_rejects,
}

#[tokio::test]
async fn a_message_is_published_when_the_broker_comes_up_at_last() {
    let broker = Broker::embedded().await;
    let (mut proxy, transport) = through_a_proxy(&broker).await;
    proxy.refuse(true).await.unwrap();
    let producer = transport.producer(Exchange::fanout(broker.name("x"))).retry(impatient());
    let publishing = tokio::spawn(async move { producer.ensure_publish("", &1).await });
    // Another producer gives up meanwhile, so this one has been refused as well.
    let other = transport.producer(Exchange::default()).retry(impatient().attempts(5));
    failure(within(other.ensure_publish("q", &1)).await);
    proxy.refuse(false).await.unwrap();
    let delivered = within(publishing).await.unwrap().unwrap();
    assert!(delivered.attempts > 1);
}

#[tokio::test]
async fn messages_get_through_while_the_connection_is_cut_again_and_again() {
    let broker = Broker::embedded().await;
    let (proxy, transport) = through_a_proxy(&broker).await;
    let queue = broker.name("q");
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&queue)).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true).retry(impatient());
    for n in 0..200u32 {
        let (producer, queue) = (producer.clone(), queue.clone());
        let publishing = tokio::spawn(async move { producer.ensure_publish(&queue, &n).await });
        if n % 10 == 0 {
            proxy.cut();
        }
        within(publishing).await.unwrap().unwrap();
    }
    let mut found = Vec::new();
    while let Some(delivery) = channel.get(&queue, GetOptions::new()).await.unwrap() {
        found.push(serde_json::from_slice::<u32>(delivery.body()).unwrap());
        delivery.ack().await.unwrap();
    }
    found.dedup();
    assert!(found.into_iter().eq(0..200), "each is there, in order, some more than once");
}

#[tokio::test]
async fn an_outage_longer_than_the_deadline_is_told_with_its_cause() {
    let broker = Broker::embedded().await;
    let (mut proxy, transport) = through_a_proxy(&broker).await;
    proxy.refuse(true).await.unwrap();
    let policy = impatient().deadline(Duration::from_millis(200));
    let producer = transport.producer(Exchange::default()).retry(policy);
    let failure = failure(within(producer.ensure_publish("q", &1)).await);
    assert_eq!(failure.outcome, Outcome::NotSent);
    assert!(failure.attempts > 1 && failure.elapsed <= Duration::from_secs(5));
    assert!(Report(&failure).to_string().contains(&proxy.addr().to_string()), "{failure:?}");
}

#[tokio::test]
async fn a_broker_that_falls_silent_before_its_confirm_leaves_it_unknown() {
    let broker = Broker::embedded().await;
    let (proxy, transport) = through_a_proxy(&broker).await;
    let producer = transport.producer(Exchange::default()).mandatory(false);
    within(producer.ensure_publish("q", &1)).await.unwrap();
    proxy.stall(true);
    let policy = RetryPolicy::default().deadline(Duration::from_millis(200));
    let failure = failure(within(producer.retry(policy).ensure_publish("q", &1)).await);
    assert_eq!(failure.outcome, Outcome::Unknown);
}

#[tokio::test]
async fn what_has_no_json_form_is_an_error_before_anything_is_sent() {
    let transport = Broker::memory().transport().await;
    let value = std::collections::BTreeMap::from([((1, 2), 3)]);
    let result = transport.producer(Exchange::default()).ensure_publish("q", &value).await;
    assert!(matches!(result, Err(Error::Encode { .. })));
}

#[tokio::test]
async fn a_message_is_published_across_a_restart_of_the_broker() {
    let broker = amqp_broker::Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let transport = Transport::connect(&format!("amqp://guest:guest@{address}/")).await.unwrap();
    let exchange = Exchange::topic("tasks");
    let producer =
        transport.producer(exchange.clone()).mandatory(true).wait_for_route(true).retry(impatient());
    let subscription = transport.consumer(Queue::new("q")).bind(&exchange, "#");
    let mut consumer = subscription.start::<u32>().await.unwrap();
    within(producer.ensure_publish("a", &1)).await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();

    broker.shutdown().await;
    drop(listener);
    let publishing = tokio::spawn(async move { producer.ensure_publish("a", &2).await });

    // The new broker has none of the old one's exchanges and queues: the consumer's connection
    // declares them again.
    let _listener = amqp_broker::Broker::builder().build().listen(address).await.unwrap();
    within(publishing).await.unwrap().unwrap();
    assert_eq!(*within(consumer.recv()).await.unwrap().unwrap().body(), 2);
}
