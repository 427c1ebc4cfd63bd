//! The headers of a message while it waits to be handled again.

use std::time::Duration;

use amqp_client::{Channel, DeleteOptions, Queue};
use messaging::RetryLater;

use super::{
    fixture::{Broker, within},
    odd_headers::acting,
    on_every_broker,
    set_aside::{failing, json, taken},
};

/// Waits until the queue exists, and returns a channel on which it was seen.
async fn declared(broker: &Broker, queue: &Queue) -> Channel {
    within(async {
        loop {
            let channel = broker.channel().await;
            if channel.declare(queue.clone().passive(true)).await.is_ok() {
                return channel;
            }
        }
    })
    .await
}

/// A broker that finds the queue in `x-death` may drop what goes there again, as LavinMQ does.
async fn what_waits_has_no_header_that_a_broker_acts_on(broker: Broker) {
    let transport = broker.transport().await;
    let (queue, other) = (broker.name("q"), broker.name("other"));
    let waiting = Queue::new(format!("{queue}.retry.600000"));
    let later = RetryLater::after(Duration::from_secs(600)).limit(2);
    let (worker, mut handled) = failing(&transport, Queue::new(&queue), later).await;
    let headers = acting(&other);
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&other)).await.unwrap();
    channel.publish(("", &queue), json("bad").headers(headers.clone())).await.unwrap();
    within(handled.recv()).await.unwrap();
    let channel = declared(&broker, &waiting).await;
    let waits = taken(&channel, &waiting.clone().passive(true)).await;
    let kept = waits.properties().unwrap().headers.unwrap();
    for name in ["CC", "x-delivery-count", "x-death"] {
        assert_eq!(kept.get(name), None, "{kept}");
        assert_eq!(kept.get(&format!("x-original-{name}")), headers.get(name), "{kept}");
    }
    within(worker.stop()).await;
    for queue in [&other, waiting.name()] {
        channel.delete_queue(queue, DeleteOptions::new()).await.unwrap();
    }
}

on_every_broker!(what_waits_has_no_header_that_a_broker_acts_on);
