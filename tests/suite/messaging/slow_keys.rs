//! Routing keys for which the broker sends no confirms: what is kept for them is bounded.

use std::time::Duration;

use amqp_broker::Broker;
use futures_util::future::{join, join_all};
use messaging::{Exchange, Queue, RetryPolicy, Transport};

fn channels(broker: &Broker) -> usize {
    broker.connections().iter().map(|connection| connection.channels.len()).sum()
}

/// Waits until the broker has closed all but so many channels.
async fn closed_to(broker: &Broker, most: usize) {
    let closed = async {
        while channels(broker) > most {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
    assert!(closed.is_ok(), "{} channels are open", channels(broker));
}

#[tokio::test(start_paused = true)]
async fn no_channel_is_kept_for_a_key_that_is_answered_again_however_many_there_are() {
    let broker = Broker::builder().build();
    let transport = Transport::on(&broker);
    let exchange = Exchange::topic("events");
    let queue = transport.consumer(Queue::new("q")).bind(&exchange, "#");
    let consumer = queue.start::<u32>().await.unwrap();
    let producer = transport.producer(exchange).retry(RetryPolicy::default());
    producer.ensure_publish("first", &0).await.unwrap();
    let before = channels(&broker);
    // This is more than are kept.
    let count = 1500;
    broker.faults().swallow_confirms(count);
    let keys: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    let slow = join_all(keys.iter().map(|key| producer.ensure_publish(key, &1)));
    let (slow, other) = join(slow, producer.ensure_publish("other", &1)).await;
    assert_eq!(other.unwrap().attempts, 1);
    assert!(slow.into_iter().all(|delivered| delivered.unwrap().attempts == 2));
    closed_to(&broker, before).await;
    drop(consumer);
}
