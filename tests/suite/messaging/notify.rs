//! Notifications between our notifier and our listener, and their form on the wire.

use std::sync::atomic::{AtomicU32, Ordering};

use amqp_client::{Exchange, Message, Queue};
use messaging::{
    Context, OnFailure, Target, Transport,
    notify::{Endpoint, Event, Filter, Level, Listener, NotificationResult, Notifier},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

type Heard = mpsc::UnboundedReceiver<Event>;

/// A handler that reports what it gets.
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
    let listener = transport.listener(topic);
    (levels.iter().fold(listener, |listener, level| listener.on(*level, telling(&sender))), heard)
}

async fn ready(broker: &Broker, queue: &str) -> u32 {
    broker.channel().await.declare(Queue::new(queue).passive(true)).await.unwrap().messages
}

async fn what_is_emitted_before_anybody_listens_is_heard(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let notifier = transport.notifier("compute.host1", &topic);
    let context = Context::new().with("request_id", "req-1");
    within(notifier.info(&context, "instance.create.end", &json!({"id": 12}))).await.unwrap();
    let plain = transport.notification_driver(&topic).enveloped(false);
    let plain = Notifier::new("compute.host1").driver(plain);
    within(plain.info(&context, "instance.delete.end", &[1.5])).await.unwrap();

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
    let notifier = transport.notifier("p", &topic);
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
    let listener = transport.listener(&topic).on(Level::Error, move |event| {
        let _ = sender.send(event);
        let again = requeues.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        async move { if again.is_ok() { NotificationResult::Requeue } else { NotificationResult::Handled } }
    });
    let listener = listener.on_failure(OnFailure::Requeue);
    let running = within(listener.start()).await.unwrap();
    within(transport.notifier("p", &topic).error(&Context::new(), "e", &())).await.unwrap();
    for redelivered in [false, true, true] {
        let event = within(heard.recv()).await.unwrap();
        assert_eq!((event.redelivered(), event.attempt()), (redelivered, 1));
    }
    within(running.stop()).await;
    assert_eq!(ready(&broker, &format!("{topic}.error")).await, 0);
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

async fn every_pool_gets_every_notification_once(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let mut running = Vec::new();
    for pool in ["one", "one", "two"] {
        let sender = sender.clone();
        let listener = transport.listener(&topic).pool(broker.name(pool)).on(Level::Info, move |event| {
            let _ = sender.send((pool, event.event_type().to_owned()));
            std::future::ready(NotificationResult::Handled)
        });
        running.push(within(listener.start()).await.unwrap());
    }
    let notifier = transport.notifier("p", &topic);
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
            .publish(("openstack", &key), Message::new(body).content_type("application/json"))
            .await
            .unwrap();
    }
    let event = within(heard.recv()).await.unwrap();
    assert_eq!((event.level(), event.event_type()), (Level::Error, "a"));
    let event = within(heard.recv()).await.unwrap();
    assert_eq!((event.level(), event.event_type()), (Level::Info, "b"));
    within(running.stop()).await;
    assert_eq!(ready(&broker, &key).await, 0);
    // These declarations are Python's: a difference would be refused.
    channel.declare(&Queue::new(&key)).await.unwrap();
    channel.declare(&Exchange::topic("openstack")).await.unwrap();
    within(transport.close()).await.unwrap();
}

async fn endpoints_are_shown_what_they_want_in_their_order(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let endpoint = |name: &'static str, filter: Filter, requeues: &'static str| {
        let sender = sender.clone();
        Endpoint::new().filter(filter).on_each(&[Level::Info, Level::Warn], move |event: Event| {
            let _ = sender.send((name, event.event_type().to_owned()));
            // It is requeued only the first time.
            let requeue = event.event_type() == requeues && !event.redelivered();
            async move { if requeue { NotificationResult::Requeue } else { NotificationResult::Handled } }
        })
    };
    let compute = Filter::new().event_type("compute").unwrap();
    let alice = Filter::new().context("user", "alice$").unwrap();
    let running = transport
        .listener(&topic)
        .concurrency(1)
        .on_failure(OnFailure::Requeue)
        .endpoint(endpoint("compute", compute, "compute.a"))
        .endpoint(endpoint("alice", alice, ""))
        .endpoint(endpoint("all", Filter::new(), ""))
        .start();
    let running = within(running).await.unwrap();
    let notifier = transport.notifier("p", &topic);
    let alice = Context::new().with("user", "alice");
    for (context, event_type) in
        [(&alice, "compute.a"), (&Context::new(), "network.b"), (&Context::new(), "compute.c")]
    {
        within(notifier.warn(context, event_type, &())).await.unwrap();
    }
    let mut got = std::collections::BTreeMap::<String, Vec<&str>>::new();
    for _ in 0..7 {
        let (name, event_type) = within(heard.recv()).await.unwrap();
        got.entry(event_type).or_default().push(name);
    }
    // The other endpoints do not see what the first has requeued.
    assert_eq!(got["compute.a"], ["compute", "compute", "alice", "all"]);
    assert_eq!(got["network.b"], ["all"]);
    assert_eq!(got["compute.c"], ["compute", "all"]);
    within(running.stop()).await;
    assert_eq!(ready(&broker, &format!("{topic}.warn")).await, 0);
    within(transport.close()).await.unwrap();
}

async fn topics_of_several_exchanges_are_heard_by_one_listener(broker: Broker) {
    let transport = broker.transport().await;
    let (one, two) = (broker.name("one"), broker.name("two"));
    let (first, second) = (broker.name("x1"), broker.name("x2"));
    let (listener, mut heard) = listener(&transport, &one, &[Level::Audit]);
    let listener = listener.exchange(&first).topic(&two);
    // The queue of a topic is the same in every exchange.
    let listener = listener.target(Target::topic(&two).exchange(&second));
    let running = within(listener.start()).await.unwrap();
    let to_both = transport.notification_driver(&one).topic(&two).exchange(&first);
    within(Notifier::new("p").driver(to_both).audit(&Context::new(), "both", &())).await.unwrap();
    let other = transport.notification_driver(&two).exchange(&second);
    within(Notifier::new("p").driver(other).audit(&Context::new(), "other", &())).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        let event = within(heard.recv()).await.unwrap();
        got.push((event.event_type().to_owned(), event.message_id().unwrap().to_owned()));
    }
    got.sort_unstable();
    // There is one notification for each topic.
    assert_eq!((got[0].0.as_str(), got[2].0.as_str()), ("both", "other"));
    assert_eq!(got[0], got[1]);
    within(running.stop()).await;
    assert!(heard.try_recv().is_err());
    within(transport.close()).await.unwrap();
}

async fn one_listener_in_two_pools_gets_a_copy_for_each(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (listener, mut heard) = listener(&transport, &topic, &[Level::Info]);
    let listener = listener.pool(broker.name("a")).pool(broker.name("b"));
    let running = within(listener.start()).await.unwrap();
    within(transport.notifier("p", &topic).info(&Context::new(), "e", &1)).await.unwrap();
    let ids = [within(heard.recv()).await.unwrap(), within(heard.recv()).await.unwrap()];
    assert_eq!(ids[0].message_id(), ids[1].message_id());
    within(running.stop()).await;
    assert!(heard.try_recv().is_err());
    // The topic's own queue has it as well, for listeners without a pool.
    assert_eq!(ready(&broker, &format!("{topic}.info")).await, 1);
    within(transport.close()).await.unwrap();
}

on_every_broker_and_redis! {
    what_is_emitted_before_anybody_listens_is_heard,
    each_level_has_its_queue_and_its_handler,
    a_notification_that_is_requeued_comes_again,
    endpoints_are_shown_what_they_want_in_their_order,
    topics_of_several_exchanges_are_heard_by_one_listener,
    one_listener_in_two_pools_gets_a_copy_for_each,
    every_pool_gets_every_notification_once,
    the_level_in_the_message_decides_and_what_nobody_handles_is_acknowledged,
}
