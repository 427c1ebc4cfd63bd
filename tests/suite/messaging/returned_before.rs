//! Messages that a quorum queue has delivered before: its count of that stays readable.

use std::time::Duration;

use amqp_client::{ConsumeOptions, DeleteOptions, GetOptions, Message, Queue, Table};
use messaging::{Incoming, OnFailure, RetryLater};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

const COUNT: &str = "x-delivery-count";

fn count(headers: &Table, name: &str) -> Option<i64> {
    headers.get(name).map(|count| count.as_i64().unwrap())
}

async fn a_quorum_queues_count_is_there_after_a_retry_and_when_set_aside(broker: Broker) {
    let transport = broker.transport().await;
    let (queue, channel) = (Queue::quorum(broker.name("q")), broker.channel().await);
    let (dead, waiting) = (format!("{}.dead", queue.name()), format!("{}.retry.20", queue.name()));
    channel.declare(&queue).await.unwrap();
    channel.publish(("", &queue), Message::new("7").content_type("application/json")).await.unwrap();
    let first = within(async {
        loop {
            if let Some(first) = channel.get(queue.name(), GetOptions::new()).await.unwrap() {
                return first;
            }
        }
    });
    first.await.nack(true).await.unwrap();

    let (seen, mut handled) = unbounded_channel();
    let later = RetryLater::after(Duration::from_millis(20)).limit(1).dead_letter(true);
    let worker = transport.worker(queue.clone()).on_failure(OnFailure::Retry(later)).start(
        move |message: Incoming<u32>| {
            seen.send((message.retries(), message.properties().headers.clone().unwrap())).unwrap();
            async { Err::<(), _>("it is bad") }
        },
    );
    let worker = within(worker).await.unwrap();
    for retries in 0..=1 {
        let (retried, given) = within(handled.recv()).await.unwrap();
        assert_eq!((retried, count(&given, COUNT)), (retries, Some(1)), "{given}");
    }
    channel.declare(&Queue::durable(&dead)).await.unwrap();
    let mut consumer = channel.consume(&dead, ConsumeOptions::new().no_ack(true)).await.unwrap();
    let set_aside = within(consumer.recv()).await.unwrap().unwrap();
    let kept = set_aside.properties().unwrap().headers.unwrap();
    assert_eq!((count(&kept, COUNT), count(&kept, "x-original-x-delivery-count")), (None, Some(1)), "{kept}");
    within(consumer.cancel()).await.unwrap();
    let message = Message::with_encoded_properties(set_aside.body().clone(), set_aside.encoded_properties());
    channel.publish(("", &dead), &message).await.unwrap();
    // A later reader of the queue finds the header as it was.
    let mut dead_letters = transport.consumer(Queue::durable(&dead)).start::<u32>().await.unwrap();
    let message = within(dead_letters.recv()).await.unwrap().unwrap();
    assert_eq!(count(&message.properties().unwrap().headers.unwrap(), COUNT), Some(1));
    message.ack().await.unwrap();
    within(worker.stop()).await;
    dead_letters.close().await.unwrap();
    for queue in [queue.name(), &dead, &waiting] {
        channel.delete_queue(queue, DeleteOptions::new()).await.unwrap();
    }
}

on_every_broker!(a_quorum_queues_count_is_there_after_a_retry_and_when_set_aside);
