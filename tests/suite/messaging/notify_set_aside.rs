//! Notifications that no handler sees as they are, one by one and in batches: bodies over the
//! limit, headers that cannot be read, headers that brokers act on.

use std::time::{Duration, Instant};

use amqp_client::{Channel, DeleteOptions, Delivery, Message, Queue};
use messaging::{
    OnFailure, RetryLater, Transport, TransportOptions,
    notify::{BatchResult, Event, Level, NotificationResult, RunningBatchListener, RunningListener},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    fixture::{Broker, within},
    odd_headers::{acting, assert_nested, deaths, with_nested},
    on_every_broker,
};
use crate::log::Log;

const LATER: RetryLater = RetryLater::after(Duration::from_millis(20)).limit(2).dead_letter(true);

/// The two kinds of listeners.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    OneByOne,
    InBatches,
}

enum Running {
    OneByOne(RunningListener),
    InBatches(RunningBatchListener),
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::OneByOne, Kind::InBatches];

    /// Starts a listener that reports the event types and attempts of its notifications, and
    /// requeues `bad` ones. All batches have one.
    async fn listen(self, transport: &Transport, topic: &str) -> (Running, UnboundedReceiver<(String, u32)>) {
        let (sender, heard) = unbounded_channel();
        let is_bad = move |event: &Event| {
            sender.send((event.event_type().to_owned(), event.attempt())).unwrap();
            event.event_type() == "bad"
        };
        let running = match self {
            Kind::OneByOne => {
                let listener = transport.listener(topic).on_failure(OnFailure::Retry(LATER)).concurrency(1);
                let listener =
                    listener.on(Level::Info, move |event: Event| {
                        let is_bad = is_bad(&event);
                        async move {
                            if is_bad { NotificationResult::Requeue } else { NotificationResult::Handled }
                        }
                    });
                Running::OneByOne(within(listener.start()).await.unwrap())
            }
            Kind::InBatches => {
                let listener = transport.batch_listener(topic, 1).on_failure(OnFailure::Retry(LATER));
                let listener = listener.on(Level::Info, move |events: Vec<Event>| {
                    let is_bad = is_bad(&events[0]);
                    async move { if is_bad { BatchResult::Requeue } else { BatchResult::Handled } }
                });
                Running::InBatches(within(listener.start()).await.unwrap())
            }
        };
        (running, heard)
    }
}

impl Running {
    async fn stop(self) {
        match self {
            Running::OneByOne(listener) => within(listener.stop()).await,
            Running::InBatches(listener) => within(listener.stop()).await,
        }
    }
}

/// A notification as it is on the wire.
fn notification(event_type: &str, payload: &Value) -> Message {
    let body = json!({"priority": "INFO", "event_type": event_type, "publisher_id": "p", "payload": payload});
    Message::new(body.to_string()).content_type("application/json").message_id("the id").unwrap()
}

async fn ready(channel: &Channel, queue: &str) -> u32 {
    within(channel.declare(Queue::new(queue).passive(true))).await.unwrap().messages
}

/// Takes the message that is in the queue, or is about to be.
async fn taken(channel: &Channel, queue: &Queue) -> Delivery {
    channel.declare(queue).await.unwrap();
    let mut consumer = channel.consume(queue, amqp_client::ConsumeOptions::new().no_ack(true)).await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap()
}

async fn one_over_the_limit_is_told_by_its_size_kept_and_holds_up_nobody(broker: Broker) {
    let sparing = within(TransportOptions::new().max_message_size(1000).connect(&broker.url)).await.unwrap();
    let channel = broker.channel().await;
    for kind in Kind::ALL {
        let (log, _guard) = Log::listen();
        let topic = broker.name(&format!("{kind:?}"));
        let queue = format!("{topic}.info");
        let (running, mut heard) = kind.listen(&sparing, &topic).await;
        let begun = Instant::now();
        let large = notification("large", &json!("x".repeat(300_000)));
        let size = format!("{} bytes", large.body().len());
        for message in [notification("before", &json!(0)), large, notification("after", &json!(0))] {
            channel.publish(("", &queue), &message).await.unwrap();
        }
        for expected in ["before", "after"] {
            assert_eq!(within(heard.recv()).await.unwrap().0, expected, "{kind:?}");
        }
        running.stop().await;
        assert_eq!(ready(&channel, &queue).await, 1, "{kind:?}");
        let told = log.lines("cannot be decoded; it is kept");
        // The pauses between attempts are at least 80 ms, 160 ms and so on.
        let most = 2 + (begun.elapsed().as_millis() / 80 + 1).ilog2() as usize;
        assert!((1..=most).contains(&told.len()), "{most} at most: {told:?}");
        for line in told {
            assert!([&queue, "the id", &size].iter().all(|part| line.contains(*part)), "{line}");
        }
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

async fn headers_that_cannot_be_read_are_set_aside_as_the_bytes_they_are(broker: Broker) {
    let (transport, channel) = (broker.transport().await, broker.channel().await);
    for kind in Kind::ALL {
        let topic = broker.name(&format!("{kind:?}"));
        let queue = format!("{topic}.info");
        let (running, mut heard) = kind.listen(&transport, &topic).await;
        let deep = notification("deep", &json!(0));
        channel.publish(("", &queue), &with_nested(&deep)).await.unwrap();
        channel.publish(("", &queue), &notification("good", &json!(0))).await.unwrap();
        assert_eq!(within(heard.recv()).await.unwrap().0, "good", "{kind:?}");
        let dead = Queue::durable(format!("{queue}.dead"));
        let set_aside = taken(&channel, &dead).await;
        assert_eq!(set_aside.body(), deep.body());
        assert_nested(&set_aside);
        running.stop().await;
        assert_eq!(ready(&channel, &queue).await, 0, "{kind:?}");
        channel.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
    }
}

async fn what_is_tried_again_goes_to_its_one_queue_and_has_all_headers_in_the_end(broker: Broker) {
    let (transport, channel) = (broker.transport().await, broker.channel().await);
    for kind in Kind::ALL {
        let topic = broker.name(&format!("{kind:?}"));
        let (queue, other, blind) =
            (format!("{topic}.info"), format!("{topic}.other"), format!("{topic}.blind"));
        for copies in [&other, &blind] {
            channel.declare(&Queue::new(copies)).await.unwrap();
        }
        let (running, mut heard) = kind.listen(&transport, &topic).await;
        let headers = acting(&other);
        let mut sent = headers.clone();
        let mut copies = amqp_codec::Array::new();
        copies.push(blind.as_str()).unwrap();
        sent.insert("BCC", copies).unwrap();
        let message = notification("bad", &json!(0)).headers(sent);
        channel.publish(("", &queue), &message).await.unwrap();
        for attempt in 1..=3 {
            assert_eq!(within(heard.recv()).await.unwrap(), ("bad".to_owned(), attempt), "{kind:?}");
        }
        let dead = Queue::durable(format!("{queue}.dead"));
        let mut dead_letters = within(transport.consumer(dead.clone()).start::<Value>()).await.unwrap();
        let set_aside = within(dead_letters.recv()).await.unwrap().unwrap();
        let kept = set_aside.properties().unwrap().headers.unwrap();
        for name in ["mine", "CC", "x-delivery-count"] {
            assert_eq!(kept.get(name), headers.get(name), "{name} of {kept}");
        }
        assert_eq!(deaths(&kept), deaths(&headers));
        set_aside.ack().await.unwrap();
        running.stop().await;
        // The copies are those of the first publish.
        for (queue, messages) in [(&queue, 0), (&other, 1), (&blind, 1)] {
            assert_eq!(ready(&channel, queue).await, messages, "{kind:?} {queue}");
        }
        drop(dead_letters);
        for queue in [dead.name(), &format!("{queue}.retry.20")] {
            channel.delete_queue(queue, DeleteOptions::new()).await.unwrap();
        }
    }
}

on_every_broker!(
    one_over_the_limit_is_told_by_its_size_kept_and_holds_up_nobody,
    headers_that_cannot_be_read_are_set_aside_as_the_bytes_they_are,
    what_is_tried_again_goes_to_its_one_queue_and_has_all_headers_in_the_end,
);
