//! Notifications in batches.

use std::{sync::Arc, time::Duration};

use amqp_client::{Message, Queue};
use messaging::{
    Context, OnFailure, RetryLater, Transport,
    notify::{BatchEndpoint, BatchResult, Event, Filter, Level},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

/// A batch as the handlers get it: the level and the payloads.
type Batch = (Level, Vec<String>);

fn batch(events: &[Event]) -> Batch {
    (events[0].level(), events.iter().map(|event| event.event_type().to_owned()).collect())
}

fn telling(
    sender: &mpsc::UnboundedSender<Batch>,
) -> impl Fn(Vec<Event>) -> std::future::Ready<BatchResult> + Send + Sync + 'static {
    let sender = sender.clone();
    move |events| {
        let _ = sender.send(batch(&events));
        std::future::ready(BatchResult::Handled)
    }
}

async fn emit(transport: &Transport, topic: &str, level: Level, event_types: &[&str]) {
    let notifier = transport.notifier("p", topic);
    for event_type in event_types {
        within(notifier.notify(level, &Context::new(), event_type, &())).await.unwrap();
    }
}

async fn ready(broker: &Broker, queue: &str) -> u32 {
    broker.channel().await.declare(Queue::new(queue).passive(true)).await.unwrap().messages
}

async fn a_batch_is_full_or_its_time_has_come_or_the_listener_stops(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    emit(&transport, &topic, Level::Info, &["a", "b", "c"]).await;
    let slow = transport.batch_listener(&topic, 2).timeout(Duration::MAX).on(Level::Info, telling(&sender));
    let running = within(slow.clone().start()).await.unwrap();
    assert_eq!(within(heard.recv()).await.unwrap().1, ["a", "b"]);
    // The third is alone in its batch, and handled when the listener stops.
    within(running.stop()).await;
    let mut left = ready(&broker, &format!("{topic}.info")).await;
    if let Ok((_, events)) = heard.try_recv() {
        assert_eq!(events, ["c"]);
        left += 1;
    }
    assert_eq!(left, 1);
    let quick = slow.timeout(Duration::from_millis(50));
    let running = within(quick.start()).await.unwrap();
    emit(&transport, &topic, Level::Info, &["d"]).await;
    loop {
        let (_, events) = within(heard.recv()).await.unwrap();
        if events.last().unwrap() == "d" {
            break;
        }
    }
    within(running.stop()).await;
    assert_eq!(ready(&broker, &format!("{topic}.info")).await, 0);
    within(transport.close()).await.unwrap();
}

async fn levels_come_one_after_the_other_and_only_what_was_not_handled_comes_again(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    for (level, event_types) in [(Level::Info, &["i0", "i1", "i2"][..]), (Level::Error, &["e0", "skip"])] {
        emit(&transport, &topic, level, event_types).await;
    }
    let later = RetryLater::after(Duration::from_millis(20)).limit(1).dead_letter(true);
    let told = sender.clone();
    let errors = BatchEndpoint::new().filter(Filter::new().event_type("e").unwrap());
    let errors = errors.on(Level::Error, telling(&sender));
    let running = transport
        .batch_listener(&topic, 5)
        .timeout(Duration::from_secs(1))
        .on_failure(OnFailure::Retry(later))
        .on(Level::Info, move |events: Vec<Event>| {
            let _ = told.send(batch(&events));
            let poison = events.iter().position(|event| event.event_type() == "i1");
            async move { poison.map_or(BatchResult::Handled, |at| BatchResult::RequeueOnly(vec![at, 99])) }
        })
        .endpoint(errors)
        .endpoint(BatchEndpoint::new().on(Level::Info, telling(&sender)))
        .start();
    let running = within(running).await.unwrap();
    let sorted = |(level, mut events): Batch| {
        events.sort_unstable();
        (level, events.join(" "))
    };
    // The second endpoint does not see what the first has requeued.
    for expected in
        [(Level::Error, "e0"), (Level::Info, "i0 i1 i2"), (Level::Info, "i0 i2"), (Level::Info, "i1")]
    {
        let (level, events) = sorted(within(heard.recv()).await.unwrap());
        assert_eq!((level, events.as_str()), expected);
    }
    within(async { while ready(&broker, &format!("{topic}.info.dead")).await < 1 {} }).await;
    within(running.stop()).await;
    for queue in ["info", "error"] {
        assert_eq!(ready(&broker, &format!("{topic}.{queue}")).await, 0);
    }
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

/// The dead-letter queue exists with other properties.
async fn what_cannot_be_set_aside_is_in_another_batch_after_a_while_and_holds_up_nobody(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let queue = format!("{topic}.info");
    let dead = Queue::new(format!("{queue}.dead"));
    broker.channel().await.declare(&dead).await.unwrap();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let later = RetryLater::after(Duration::from_millis(20)).limit(0).dead_letter(true);
    let running = transport
        .batch_listener(&topic, 1)
        .on_failure(OnFailure::Retry(later))
        .on(Level::Info, move |events: Vec<Event>| {
            let _ = sender.send(events[0].event_type().to_owned());
            let poison = events[0].event_type() == "poison";
            async move { if poison { BatchResult::Requeue } else { BatchResult::Handled } }
        })
        .start();
    let running = within(running).await.unwrap();
    emit(&transport, &topic, Level::Info, &["poison"]).await;
    for _ in 0..3 {
        emit(&transport, &topic, Level::Info, &["good"]).await;
        while within(heard.recv()).await.unwrap() != "good" {}
        while within(heard.recv()).await.unwrap() != "poison" {}
    }
    within(running.stop()).await;
    assert_eq!(ready(&broker, &queue).await, 1);
    within(transport.close()).await.unwrap();
}

async fn unreadable_and_repeated_notifications_are_in_no_batch(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let running = transport
        .batch_listener(&topic, 6)
        .timeout(Duration::from_millis(100))
        .on(Level::Info, telling(&sender))
        .start();
    let running = within(running).await.unwrap();
    let channel = broker.channel().await;
    let key = format!("{topic}.info");
    for body in [
        r#"{"priority": "INFO", "event_type": "a", "_unique_id": "u"}"#,
        r#"{"priority": "INFO", "event_type": "again", "_unique_id": "u"}"#,
        r#"{"priority": "loud"}"#,
        "no json",
        r#"{"priority": "INFO", "event_type": "b"}"#,
        r#"{"priority": "INFO", "event_type": "last", "_unique_id": "v"}"#,
    ] {
        let message = Message::new(body).content_type("application/json");
        channel.publish(("openstack", &key), &message).await.unwrap();
    }
    let mut got = Vec::new();
    while got.last().is_none_or(|last| last != "last") {
        got.extend(within(heard.recv()).await.unwrap().1);
    }
    assert_eq!(got, ["a", "b", "last"]);
    within(running.stop()).await;
    assert!(heard.try_recv().is_err());
    assert_eq!((ready(&broker, &key).await, ready(&broker, &format!("{key}.dead")).await), (0, 1));
    within(transport.close()).await.unwrap();
}

async fn a_listener_that_is_dropped_gives_back_what_it_has_gathered(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    emit(&transport, &topic, Level::Info, &["a", "b"]).await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let closed = gate.clone();
    let running = transport.batch_listener(&topic, 2).on(Level::Info, move |_| {
        let _ = begun.send(());
        let gate = closed.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            BatchResult::Handled
        }
    });
    let running = within(running.start()).await.unwrap();
    within(begins.recv()).await.unwrap();
    drop(running);
    within(async { while ready(&broker, &format!("{topic}.info")).await < 2 {} }).await;
    assert_eq!(Arc::strong_count(&gate), 1);
    within(transport.close()).await.unwrap();
}

on_every_broker_and_redis! {
    a_batch_is_full_or_its_time_has_come_or_the_listener_stops,
    levels_come_one_after_the_other_and_only_what_was_not_handled_comes_again,
    unreadable_and_repeated_notifications_are_in_no_batch,
    a_listener_that_is_dropped_gives_back_what_it_has_gathered,
    what_cannot_be_set_aside_is_in_another_batch_after_a_while_and_holds_up_nobody,
}
