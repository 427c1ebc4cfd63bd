//! RabbitMQ dies and comes back under load: no confirmed message is lost, and none is delivered
//! twice without the flag.

use std::time::Duration;

use amqp_client::{Backoff, ConsumeOptions, Consumer, Message, Queue};
use tests::{Cluster, RabbitMq, scale};
use tokio::time::{sleep, timeout};

use super::load::{Load, options};

/// The number of messages between two faults.
const MESSAGES: u64 = 1000;

#[tokio::test]
async fn rabbitmq_killed_restarted_and_deaf_loses_nothing_that_was_confirmed() {
    if !RabbitMq::require(
        "recovery::brokers::rabbitmq_killed_restarted_and_deaf_loses_nothing_that_was_confirmed",
    ) {
        return;
    }
    let mut rabbitmq = RabbitMq::start().await.unwrap();
    let uri = rabbitmq.uri().to_owned();
    let mut load = Load::begin(&Queue::durable("ledger"), |_| uri.clone()).await;
    let messages = MESSAGES * scale() as u64;
    load.goes_on(messages).await;
    // A durable queue that was declared a moment ago would be gone after a kill: RabbitMQ writes it
    // down seconds after it has answered.
    rabbitmq.ctl(&["eval", "mnesia:sync_log()."]).await.unwrap();
    for _ in 0..scale() {
        rabbitmq.kill().unwrap();
        rabbitmq.restart().await.unwrap();
        load.goes_on(messages).await;
    }
    rabbitmq.shut_down().await.unwrap();
    rabbitmq.restart().await.unwrap();
    load.goes_on(messages).await;
    // It refuses new connections, and has none.
    for order in ["suspend_all_client_listeners", "close_all_client_connections"] {
        rabbitmq.ctl(&["eval", &format!("rabbit_maintenance:{order}().")]).await.unwrap();
    }
    sleep(Duration::from_secs(2 * scale().min(10) as u64)).await;
    rabbitmq.ctl(&["eval", "rabbit_maintenance:resume_all_client_listeners()."]).await.unwrap();
    load.goes_on(messages).await;
    let account = load.finish().await;
    println!("one node, {} kills: {account:?}: {}", scale(), account.summary);
    // Not all connections may be back at the next fault.
    assert!(account.reconnects >= 8 * (1 + scale() as u64), "{account:?}");
    // After a kill 3.10 has forgotten the last acks; 4.0 may have forgotten none.
    let version = rabbitmq.ctl(&["version"]).await.unwrap();
    assert!(account.summary.redelivered > 0 || !version.starts_with("3."), "{version}: {account:?}");
    rabbitmq.stop().await.unwrap();
}

#[tokio::test]
async fn a_rabbitmq_cluster_whose_leaders_die_one_after_the_other_loses_nothing_that_was_confirmed() {
    if !RabbitMq::require(
        "recovery::brokers::a_rabbitmq_cluster_whose_leaders_die_one_after_the_other_loses_nothing_that_was_confirmed",
    ) {
        return;
    }
    let mut cluster = Cluster::start().await.unwrap();
    let queue = Queue::quorum("ledger");
    let mut load = Load::begin(&queue, |number| cluster.uri(number)).await;
    let messages = MESSAGES * scale() as u64;
    load.goes_on(messages).await;
    let mut observer = 0;
    for _ in 0..scale() {
        let leader = cluster.leader(observer, queue.name()).await.unwrap();
        let mut waiting = Waiting::on(&cluster, leader).await;
        cluster.nodes[leader].kill().unwrap();
        // Two of three are a majority, so it continues without the third.
        load.goes_on(messages).await;
        cluster.nodes[leader].restart().await.unwrap();
        load.goes_on(messages).await;
        waiting.receives().await;
        observer = leader;
    }
    let account = load.finish().await;
    println!("a cluster, {} leaders killed: {account:?}: {}", scale(), account.summary);
    assert!(account.reconnects > 0, "{account:?}");
}

/// Consumers of a classic queue, which is on one node of a cluster only, and unavailable while that
/// is down.
struct Waiting {
    consumers: Vec<Consumer>,
    uri: String,
    queue: String,
}

impl Waiting {
    /// One consumer connected to each node, with the queue on `node`.
    async fn on(cluster: &Cluster, node: usize) -> Self {
        let uri = cluster.uri(node);
        let queue = format!("of-node-{node}");
        let mut consumers = Vec::new();
        for number in 0..cluster.nodes.len() {
            let connection = options().connect(&cluster.uri(node + number)).await.unwrap();
            let channel = connection.open_channel().await.unwrap();
            // The first is connected to the node where the queue is created.
            channel.declare(&Queue::durable(&queue)).await.unwrap();
            let pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
            let options = ConsumeOptions::new().prefetch(1).resubscribe(pauses);
            consumers.push(channel.consume(&queue, options).await.unwrap());
        }
        Waiting { consumers, uri, queue }
    }

    /// Checks that each of them gets a message, which it does not acknowledge.
    async fn receives(&mut self) {
        let connection = options().connect(&self.uri).await.unwrap();
        let publisher = connection.open_channel().await.unwrap().publisher().await.unwrap();
        for _ in &self.consumers {
            publisher
                .publish(("", &self.queue), Message::new("x").persistent())
                .await
                .unwrap()
                .await
                .unwrap();
        }
        for consumer in &mut self.consumers {
            let delivery = timeout(Duration::from_secs(60), consumer.recv()).await.expect("it is forgotten");
            assert_eq!(delivery.unwrap().unwrap().body(), "x");
        }
    }
}
