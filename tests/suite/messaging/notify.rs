//! Notifications between a notifier and a listener of ours, and as they are on the wire.

use std::sync::atomic::{AtomicU32, Ordering};

use amqp_client::{Exchange, Message, Queue};
use messaging::{
    Context, Transport,
    notify::{Event, Level, Listener, NotificationResult, Notifier},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

type Heard = mpsc::UnboundedReceiver<Event>;

/// A handler that tells of what it hears.
fn telling(
    sender: &mpsc::UnboundedSender<Event>,
) -> impl Fn(Event) -> std::future::Ready<NotificationResult> + Send + Sync + 'static {
    let sender = sender.clone();
    move |event| {
        let _ = sender.send(event);
        std::future::ready(NotificationResult::Handled)
    }
}

fn listener(transport: &Transport, topic: &str, levels: &[Level]) -> (Listener, Heard) {
    let (sender, heard) = mpsc::unbounded_channel();
    let listener = Listener::new(transport, topic);
    (levels.iter().fold(listener, |listener, level| listener.on(*level, telling(&sender))), heard)
}

async fn ready(broker: &Broker, queue: &str) -> u32 {
    broker.channel().await.declare_passive(&Queue::new(queue)).await.unwrap().messages
}

async fn what_is_emitted_before_anybody_listens_is_heard(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let notifier = Notifier::new(&transport, "compute.host1", &topic);
    let context = Context::new().with("request_id", "req-1");
    within(notifier.info(&context, "instance.create.end", &json!({"id": 12}))).await.unwrap();
    within(notifier.enveloped(false).info(&context, "instance.delete.end", &[1.5])).await.unwrap();

    let (listener, mut heard) = listener(&transport, &topic, &[Level::Info]);
    let running = within(listener.concurrency(1).start()).await.unwrap();
    let event = within(heard.recv()).await.unwrap();
    assert_eq!((event.level(), event.event_type()), (Level::Info, "instance.create.end"));
    assert_eq!(event.publisher_id(), "compute.host1");
    assert_eq!(event.payload::<Value>().unwrap(), json!({"id": 12}));
    assert_eq!(event.context(), &context);
    assert!(event.message_id().is_some() && event.timestamp().is_some());
    let event = within(heard.recv()).await.unwrap();
    assert_eq!(
        (event.event_type(), event.payload::<Vec<f64>>().unwrap()),
        ("instance.delete.end", vec![1.5])
    );
    within(running.stop()).await;
    assert_eq!(ready(&broker, &format!("{topic}.info")).await, 0);
    within(transport.close()).await.unwrap();
}

async fn each_level_has_its_queue_and_its_handler(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (listener, mut heard) = listener(&transport, &topic, &Level::ALL);
    let running = within(listener.start()).await.unwrap();
    let notifier = Notifier::new(&transport, "p", &topic);
    let context = Context::new();
    for level in Level::ALL {
        within(notifier.notify(level, &context, level.name(), &())).await.unwrap();
        let event = within(heard.recv()).await.unwrap();
        assert_eq!((event.level(), event.event_type()), (level, level.name()));
    }
    within(running.stop()).await;
    within(transport.close()).await.unwrap();
}

async fn a_notification_that_is_requeued_comes_again(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let requeues = AtomicU32::new(2);
    let listener = Listener::new(&transport, &topic).on(Level::Error, move |event| {
        let _ = sender.send(event);
        let again = requeues.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        async move { if again.is_ok() { NotificationResult::Requeue } else { NotificationResult::Handled } }
    });
    let running = within(listener.start()).await.unwrap();
    within(Notifier::new(&transport, "p", &topic).error(&Context::new(), "e", &())).await.unwrap();
    for _ in 0..3 {
        within(heard.recv()).await.unwrap();
    }
    within(running.stop()).await;
    assert_eq!(ready(&broker, &format!("{topic}.error")).await, 0);
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

async fn a_handler_that_panics_gets_the_notification_once_more_and_no_oftener(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = Listener::new(&transport, &topic).on(Level::Info, move |event| {
        let poisoned = event.event_type() == "poison";
        let _ = sender.send(event);
        assert!(!poisoned, "this is what the test is about");
        std::future::ready(NotificationResult::Handled)
    });
    let running = within(listener.concurrency(1).start()).await.unwrap();
    let notifier = Notifier::new(&transport, "p", &topic);
    within(notifier.info(&Context::new(), "poison", &())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(within(heard.recv()).await.unwrap().event_type(), "poison");
    }
    within(notifier.info(&Context::new(), "good", &())).await.unwrap();
    assert_eq!(within(heard.recv()).await.unwrap().event_type(), "good");
    within(running.stop()).await;
    assert_eq!(ready(&broker, &format!("{topic}.info")).await, 0);
    within(transport.close()).await.unwrap();
}

async fn every_pool_gets_every_notification_once(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let mut running = Vec::new();
    for pool in ["one", "one", "two"] {
        let sender = sender.clone();
        let listener =
            Listener::new(&transport, &topic).pool(broker.name(pool)).on(Level::Info, move |event| {
                let _ = sender.send((pool, event.event_type().to_owned()));
                std::future::ready(NotificationResult::Handled)
            });
        running.push(within(listener.start()).await.unwrap());
    }
    let notifier = Notifier::new(&transport, "p", &topic);
    for event_type in ["a", "b"] {
        within(notifier.info(&Context::new(), event_type, &())).await.unwrap();
    }
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(within(heard.recv()).await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(
        got,
        [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")].map(|(pool, e)| (pool, e.to_owned()))
    );
    for listener in running {
        within(listener.stop()).await;
    }
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

async fn the_level_in_the_message_decides_and_what_nobody_handles_is_acknowledged(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (listener, mut heard) = listener(&transport, &topic, &[Level::Info, Level::Error]);
    let running = within(listener.concurrency(1).start()).await.unwrap();
    let channel = broker.channel().await;
    let key = format!("{topic}.info");
    for body in [
        r#"{"priority": "loud"}"#,
        "{}",
        r#"{"oslo.version": "3.0", "oslo.message": "{}"}"#,
        "no json",
        r#"{"priority": "ERROR", "event_type": "a", "_unique_id": "u"}"#,
        r#"{"priority": "ERROR", "event_type": "again", "_unique_id": "u"}"#,
        r#"{"priority": "info", "event_type": "b", "payload": NaN}"#,
    ] {
        channel
            .publish("openstack", &key, &Message::new(body).content_type("application/json"))
            .await
            .unwrap();
    }
    let event = within(heard.recv()).await.unwrap();
    assert_eq!((event.level(), event.event_type()), (Level::Error, "a"));
    let event = within(heard.recv()).await.unwrap();
    assert_eq!((event.level(), event.event_type()), (Level::Info, "b"));
    within(running.stop()).await;
    assert_eq!(ready(&broker, &key).await, 0);
    // Declared as Python declares them: a difference would be refused.
    channel.declare(&Queue::new(&key)).await.unwrap();
    channel.declare(&Exchange::topic("openstack")).await.unwrap();
    within(transport.close()).await.unwrap();
}

on_every_broker! {
    what_is_emitted_before_anybody_listens_is_heard,
    each_level_has_its_queue_and_its_handler,
    a_notification_that_is_requeued_comes_again,
    a_handler_that_panics_gets_the_notification_once_more_and_no_oftener,
    every_pool_gets_every_notification_once,
    the_level_in_the_message_decides_and_what_nobody_handles_is_acknowledged,
}
