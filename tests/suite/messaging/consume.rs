//! Typed messages, and messages that cannot be decoded.

use amqp_client::Message;
use futures_util::TryStreamExt as _;
use messaging::{Consumer, Error, Exchange, Malformed, Queue, Transport};
use serde::{Deserialize, Serialize};
use tests::Proxy;

use super::{
    fixture::{Broker, within},
    odd_headers::{assert_nested, with_nested},
    on_every_broker_and_redis,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
}

fn job(name: &str) -> Job {
    Job { name: name.to_owned() }
}

async fn start(broker: &Broker, queue: &str) -> Consumer<Job> {
    let transport = broker.transport().await;
    transport.consumer(Queue::new(broker.name(queue))).prefetch(1).start().await.unwrap()
}

async fn publish(broker: &Broker, queue: &str, job: &Job) {
    let transport = broker.transport().await;
    let producer = transport.producer(Exchange::default()).mandatory(true);
    within(producer.ensure_publish(&broker.name(queue), job)).await.unwrap();
    transport.close().await.unwrap();
}

async fn ready(broker: &Broker, queue: &str) -> u32 {
    let channel = broker.channel().await;
    channel.declare(Queue::new(broker.name(queue)).passive(true)).await.unwrap().messages
}

async fn a_message_that_is_requeued_comes_again_and_says_so(broker: Broker) {
    let mut jobs = start(&broker, "q").await;
    publish(&broker, "q", &job("a")).await;
    let first = within(jobs.recv()).await.unwrap().unwrap();
    assert!(!first.redelivered());
    first.requeue().await.unwrap();
    let again = within(jobs.recv()).await.unwrap().unwrap();
    assert!(again.redelivered());
    assert_eq!(again.body(), &job("a"));
    again.ack().await.unwrap();
    jobs.close().await.unwrap();
    assert_eq!(ready(&broker, "q").await, 0);
}

async fn what_is_not_settled_goes_back_when_the_consumer_closes(broker: Broker) {
    let mut jobs = start(&broker, "q").await;
    publish(&broker, "q", &job("a")).await;
    let unsettled = within(jobs.recv()).await.unwrap().unwrap();
    jobs.close().await.unwrap();
    assert_eq!(ready(&broker, "q").await, 1);
    drop(unsettled);
}

async fn an_undecodable_message_is_an_item_that_can_be_settled_and_the_consumer_goes_on(broker: Broker) {
    let mut jobs = start(&broker, "q").await;
    let channel = broker.channel().await;
    for body in ["{", r#"{"name": 5}"#, "\u{feff}{}"] {
        let message = Message::new(body).content_type("application/json");
        channel.publish(("", &broker.name("q")), &message).await.unwrap();
    }
    publish(&broker, "q", &job("a")).await;
    for settling in 0..3 {
        let Some(Err(Error::Undecodable(undecodable))) = within(jobs.recv()).await else { panic!("decoded") };
        assert!(matches!(undecodable.reason, Malformed::Json(_)));
        if settling == 0 { undecodable.ack().await.unwrap() } else { undecodable.reject().await.unwrap() }
    }
    let good = within(jobs.try_next()).await.unwrap().unwrap();
    assert_eq!(good.body(), &job("a"));
    good.ack().await.unwrap();
    jobs.close().await.unwrap();
    assert_eq!(ready(&broker, "q").await, 0);
}

/// The limit is the consumer's own, not its transport's.
async fn a_body_over_the_limit_of_the_consumer_is_an_item_that_can_be_settled(broker: Broker) {
    let transport = broker.transport().await;
    let consumer = transport.consumer(Queue::new(broker.name("q"))).max_message_size(1000);
    let mut jobs = within(consumer.start::<Job>()).await.unwrap();
    for name in ["before", &"x".repeat(300_000), "after"] {
        publish(&broker, "q", &job(name)).await;
    }
    within(jobs.recv()).await.unwrap().unwrap().ack().await.unwrap();
    let Some(Err(Error::Undecodable(large))) = within(jobs.recv()).await else { panic!("it was read") };
    assert!(matches!(large.reason, Malformed::Withheld { size: 300_011 }), "{}", large.reason);
    assert!(large.delivery.properties().unwrap().content_type.is_some());
    large.ack().await.unwrap();
    let after = within(jobs.recv()).await.unwrap().unwrap();
    assert_eq!(after.body(), &job("after"));
    after.ack().await.unwrap();
    jobs.close().await.unwrap();
    assert_eq!(ready(&broker, "q").await, 0);
}

async fn headers_that_cannot_be_read_come_as_the_bytes_they_are_with_an_item_that_can_be_settled(
    broker: Broker,
) {
    let mut jobs = start(&broker, "q").await;
    let deep = with_nested(&Message::new(r#"{"name": "deep"}"#).content_type("application/json"));
    broker.channel().await.publish(("", &broker.name("q")), &deep).await.unwrap();
    publish(&broker, "q", &job("after")).await;
    let Some(Err(Error::Undecodable(undecodable))) = within(jobs.recv()).await else { panic!("it was read") };
    assert!(matches!(undecodable.reason, Malformed::Properties(_)), "{}", undecodable.reason);
    assert_nested(&undecodable.delivery);
    undecodable.ack().await.unwrap();
    let after = within(jobs.recv()).await.unwrap().unwrap();
    assert_eq!(after.body(), &job("after"));
    after.ack().await.unwrap();
    jobs.close().await.unwrap();
    assert_eq!(ready(&broker, "q").await, 0);
}

async fn prefetch_bounds_what_is_not_settled(broker: Broker) {
    let mut jobs = start(&broker, "q").await;
    for name in ["a", "b"] {
        publish(&broker, "q", &job(name)).await;
    }
    let first = within(jobs.recv()).await.unwrap().unwrap();
    assert_eq!(ready(&broker, "q").await, 1);
    first.ack().await.unwrap();
    assert_eq!(within(jobs.recv()).await.unwrap().unwrap().body(), &job("b"));
}

async fn the_broker_names_a_queue_without_a_name(broker: Broker) {
    let transport = broker.transport().await;
    let exchange = Exchange::fanout(broker.name("x")).auto_delete(true);
    let queue = Queue::new("").exclusive(true);
    let mut jobs = transport.consumer(queue).bind(&exchange, "").start::<Job>().await.unwrap();
    assert!(jobs.queue().starts_with("amq.gen-"), "{}", jobs.queue());
    transport.producer(exchange).mandatory(true).ensure_publish("", &job("a")).await.unwrap();
    assert_eq!(within(jobs.recv()).await.unwrap().unwrap().body(), &job("a"));
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    a_message_that_is_requeued_comes_again_and_says_so,
    what_is_not_settled_goes_back_when_the_consumer_closes,
    an_undecodable_message_is_an_item_that_can_be_settled_and_the_consumer_goes_on,
    prefetch_bounds_what_is_not_settled,
    the_broker_names_a_queue_without_a_name,
    a_body_over_the_limit_of_the_consumer_is_an_item_that_can_be_settled;
    headers_that_cannot_be_read_come_as_the_bytes_they_are_with_an_item_that_can_be_settled,
}

#[tokio::test]
async fn a_consumer_goes_on_where_its_connection_was_cut() {
    let broker = Broker::embedded().await;
    let address = broker.url.trim_start_matches("amqp://guest:guest@").trim_end_matches('/');
    let proxy = Proxy::start(address).await.unwrap();
    let transport = Transport::connect(&format!("amqp://guest:guest@{}/", proxy.addr())).await.unwrap();
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<Job>().await.unwrap();
    publish(&broker, "q", &job("a")).await;
    let held = within(consumer.recv()).await.unwrap().unwrap();
    proxy.cut();
    let again = within(consumer.recv()).await.unwrap().unwrap();
    assert!(again.redelivered());
    assert_eq!(again.body(), held.body());
    assert!(held.ack().await.is_err(), "it was delivered over the connection that was cut");
    again.ack().await.unwrap();
    publish(&broker, "q", &job("b")).await;
    within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    assert_eq!(ready(&broker, "q").await, 0);
}
