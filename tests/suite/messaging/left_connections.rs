//! Connections that were abandoned because they did not answer: they belong to the transport until
//! they are closed.

use std::time::Duration;

use amqp_broker::{Broker, Listener};
use messaging::{
    Error, Exchange, Outcome, Producer, PublishOptions, Published, Queue, RetryPolicy, Transport,
};
use tests::Proxy;

use super::fixture::within;

struct Scene {
    broker: Broker,
    _listener: Listener,
    proxy: Proxy,
    /// The transport, which reaches the broker through the proxy.
    transport: Transport,
    /// A producer that has published before, to the queue `q`.
    known: Producer,
    /// A producer that has not, and needs a channel.
    other: Producer,
}

impl Scene {
    async fn new() -> Self {
        let broker = Broker::builder().build();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr()).await.unwrap();
        let transport = Transport::connect(&format!("amqp://guest:guest@{}/", proxy.addr())).await.unwrap();
        let known = transport.producer(Exchange::default()).retry(RetryPolicy::never());
        let needs = PublishOptions::new().declare(Queue::new("q"));
        within(known.ensure_publish(("q", &needs), &0)).await.unwrap();
        let other = transport.producer(Exchange::fanout("events")).retry(RetryPolicy::never());
        Scene { broker, _listener: listener, proxy, transport, known, other }
    }

    /// Checks that the transport closes with everything that was made from it, after so many
    /// messages.
    async fn closes(&self, published: u64) {
        within(self.transport.close()).await.unwrap();
        assert!(is_closed(within(self.known.ensure_publish("q", &1)).await));
        assert!(is_closed(within(self.other.ensure_publish("", &1)).await));
        assert_eq!(self.transport.metrics().published, published);
    }

    async fn until_connections(&self, are_enough: impl Fn(usize) -> bool) {
        within(async {
            while !are_enough(self.broker.connections().len()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn is_closed(result: Result<Published, Error>) -> bool {
    match result {
        Err(Error::Undelivered(undelivered)) => {
            undelivered.outcome == Outcome::NotSent
                && matches!(undelivered.source.as_deref(), Some(Error::Closed))
        }
        _ => false,
    }
}

#[tokio::test]
async fn closing_closes_one_that_was_left_while_no_other_could_be_had() {
    let mut scene = Scene::new().await;
    scene.proxy.refuse(true).await.unwrap();
    scene.proxy.stall(true);
    assert!(within(scene.other.ensure_publish("", &1)).await.is_err());
    // It answers again, and another caller has a channel on it.
    scene.proxy.stall(false);
    within(scene.known.ensure_publish("q", &1)).await.unwrap();
    scene.closes(2).await;
}

#[tokio::test]
async fn closing_closes_one_that_was_left_for_another() {
    let scene = Scene::new().await;
    scene.proxy.stall(true);
    let other = scene.other.clone();
    let publishing = tokio::spawn(async move { other.ensure_publish("", &1).await });
    scene.until_connections(|number| number == 2).await;
    scene.proxy.stall(false);
    within(publishing).await.unwrap().unwrap();
    within(scene.known.ensure_publish("q", &1)).await.unwrap();
    scene.closes(3).await;
}

#[tokio::test]
async fn one_that_was_left_is_closed_when_nobody_uses_it_any_more() {
    let mut scene = Scene::new().await;
    scene.proxy.stall(true);
    let other = scene.other.clone();
    let publishing = tokio::spawn(async move { other.ensure_publish("", &1).await });
    scene.until_connections(|number| number == 2).await;
    scene.proxy.stall(false);
    within(publishing).await.unwrap().unwrap();
    scene.known = scene.other.clone();
    scene.until_connections(|number| number == 1).await;
    scene.closes(2).await;
}
