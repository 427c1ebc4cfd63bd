//! Notifications that cannot be handled: they are retried after a while or set aside, never retried
//! without a pause and never lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use amqp_client::{GetOptions, Message, Queue};
use messaging::{
    Context, OnFailure, RetryLater, Transport,
    notify::{Event, Level, NotificationResult, RepeatWindow},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

const SOON: RetryLater = RetryLater::after(Duration::from_millis(20)).limit(2).dead_letter(true);

async fn ready(broker: &Broker, queue: &str) -> u32 {
    broker.channel().await.declare(Queue::new(queue).passive(true)).await.unwrap().messages
}

/// The number of messages in a queue, and texts of the headers of the only one.
async fn set_aside(broker: &Broker, queue: &str) -> (u32, String, String) {
    let channel = broker.channel().await;
    let got =
        within(channel.get(queue, GetOptions::new())).await.unwrap().expect("a message that was set aside");
    assert_eq!(got.remaining(), Some(0));
    let properties = got.properties().unwrap();
    let headers = properties.headers.as_ref().unwrap();
    let text = |key: &str| headers.get(key).unwrap().as_str().unwrap().to_owned();
    let retries = headers.get("x-retry-count").unwrap().as_i64().unwrap();
    (retries.try_into().unwrap(), text("x-failure"), text("x-original-routing-key"))
}

async fn poison_is_tried_again_later_then_set_aside_and_holds_up_nobody(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = transport.listener(&topic).on(Level::Info, move |event: Event| {
        let _ = sender.send((event.event_type().to_owned(), event.attempt()));
        let poison = event.event_type() == "poison";
        assert_ne!(event.event_type(), "panic", "this is what the test is about");
        async move { if poison { NotificationResult::Requeue } else { NotificationResult::Handled } }
    });
    let running = listener.concurrency(1).on_failure(OnFailure::Retry(SOON)).start();
    let running = within(running).await.unwrap();
    let notifier = transport.notifier("p", &topic);
    within(notifier.info(&Context::new(), "poison", &"kept")).await.unwrap();
    for attempt in 1..=3 {
        assert_eq!(within(heard.recv()).await.unwrap(), ("poison".to_owned(), attempt));
    }
    within(notifier.info(&Context::new(), "good", &())).await.unwrap();
    assert_eq!(within(heard.recv()).await.unwrap(), ("good".to_owned(), 1));
    let queue = format!("{topic}.info");
    let dead = format!("{queue}.dead");
    // It was moved before the next one was handled, or is being moved.
    within(async { while ready(&broker, &dead).await < 1 {} }).await;
    assert_eq!(
        set_aside(&broker, &dead).await,
        (3, "its handler requested a requeue".to_owned(), queue.clone())
    );

    within(notifier.info(&Context::new(), "panic", &())).await.unwrap();
    for attempt in 1..=3 {
        assert_eq!(within(heard.recv()).await.unwrap(), ("panic".to_owned(), attempt));
    }
    within(running.stop()).await;
    let channel = broker.channel().await;
    // The first has returned to the queue because its reader is gone.
    within(async { while channel.declare(Queue::new(&dead).passive(true)).await.unwrap().messages < 2 {} })
        .await;
    assert_eq!(ready(&broker, &queue).await, 0);
    within(transport.close()).await.unwrap();
}

/// The dead-letter queue exists with other properties.
async fn what_cannot_be_set_aside_is_handled_again_after_a_while_and_holds_up_nobody(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let queue = format!("{topic}.info");
    let dead = Queue::new(format!("{queue}.dead"));
    broker.channel().await.declare(&dead).await.unwrap();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = transport.listener(&topic).on(Level::Info, move |event: Event| {
        let _ = sender.send(event.event_type().to_owned());
        let poison = event.event_type() == "poison";
        async move { if poison { NotificationResult::Requeue } else { NotificationResult::Handled } }
    });
    let at_once = OnFailure::Retry(SOON.limit(0));
    let running = within(listener.concurrency(1).on_failure(at_once).start()).await.unwrap();
    let notifier = transport.notifier("p", &topic);
    within(notifier.info(&Context::new(), "poison", &())).await.unwrap();
    for _ in 0..3 {
        within(notifier.info(&Context::new(), "good", &())).await.unwrap();
        while within(heard.recv()).await.unwrap() != "good" {}
        while within(heard.recv()).await.unwrap() != "poison" {}
    }
    within(running.stop()).await;
    assert_eq!(ready(&broker, &queue).await, 1);
    within(transport.close()).await.unwrap();
}

async fn what_cannot_be_read_is_set_aside_at_once_and_rejected_only_where_that_is_asked_for(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let key = format!("{topic}.info");
    let start = |policy: OnFailure| {
        let (sender, heard) = mpsc::unbounded_channel();
        let listener = transport.listener(&topic).on(Level::Info, move |event: Event| {
            let _ = sender.send(event.event_type().to_owned());
            std::future::ready(NotificationResult::Handled)
        });
        (listener.concurrency(1).on_failure(policy).start(), heard)
    };
    for (policy, kept) in [(OnFailure::Retry(SOON), 1), (OnFailure::Reject, 1), (OnFailure::Requeue, 1)] {
        let (running, mut heard) = start(policy);
        let running = within(running).await.unwrap();
        let channel = broker.channel().await;
        for body in
            [r#"{"oslo.version": "3.0", "oslo.message": "{}"}"#, r#"{"priority": "INFO", "event_type": "e"}"#]
        {
            let message = Message::new(body).content_type("application/json");
            channel.publish(("openstack", &key), &message).await.unwrap();
        }
        assert_eq!(within(heard.recv()).await.unwrap(), "e");
        within(running.stop()).await;
        assert_eq!((ready(&broker, &key).await, ready(&broker, &format!("{key}.dead")).await), (0, kept));
    }
    within(transport.close()).await.unwrap();
}

async fn a_duplicate_is_acknowledged_and_handled_again_only_where_the_first_was_not(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let (gate, opened) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (waiting, count) = (gate.clone(), opened.clone());
    let running = transport
        .listener(&topic)
        .on(Level::Info, move |event: Event| {
            let _ = sender.send(event.event_type().to_owned());
            let (gate, count) = (waiting.clone(), count.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                // The first fails, and is set aside.
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => NotificationResult::Requeue,
                    _ => NotificationResult::Handled,
                }
            }
        })
        .on_failure(OnFailure::Reject)
        .start();
    let running = within(running).await.unwrap();
    let channel = broker.channel().await;
    for (event_type, id) in [("first", "u"), ("second", "u"), ("third", "u"), ("fourth", "u"), ("other", "v")]
    {
        let body = format!(r#"{{"priority": "INFO", "event_type": "{event_type}", "_unique_id": "{id}"}}"#);
        let message = Message::new(body).content_type("application/json");
        channel.publish(("openstack", &format!("{topic}.info")), &message).await.unwrap();
    }
    assert_eq!(within(heard.recv()).await.unwrap(), "first");
    // With this one all have arrived. The others wait for the first, though they could run at the
    // same time.
    assert_eq!(within(heard.recv()).await.unwrap(), "other");
    gate.add_permits(1);
    assert_eq!(within(heard.recv()).await.unwrap(), "second");
    gate.add_permits(10);
    within(running.stop()).await;
    assert!(heard.try_recv().is_err());
    assert_eq!((opened.load(Ordering::SeqCst), ready(&broker, &format!("{topic}.info")).await), (3, 0));
    within(transport.close()).await.unwrap();
}

async fn a_listener_that_is_to_remember_nothing_handles_a_duplicate_again(broker: Broker) {
    let topic = broker.name("n");
    let transport = broker.transport().await;
    let key = format!("{topic}.info");
    let channel = broker.channel().await;
    for (window, times) in [(RepeatWindow::last(0), 3), (RepeatWindow::last(1), 2)] {
        let (sender, mut heard) = mpsc::unbounded_channel();
        let listener = transport.listener(&topic).concurrency(1).repeats(window);
        let listener = listener.on(Level::Info, move |event: Event| {
            let _ = sender.send(event.event_type().to_owned());
            std::future::ready(NotificationResult::Handled)
        });
        let running = within(listener.start()).await.unwrap();
        // The memory has room for one: the second is known, and the other makes it forget the
        // third.
        for (event_type, id) in [("a", "u"), ("a", "u"), ("b", "v"), ("a", "u"), ("last", "w")] {
            let body =
                format!(r#"{{"priority": "INFO", "event_type": "{event_type}", "_unique_id": "{id}"}}"#);
            let message = Message::new(body).content_type("application/json");
            channel.publish(("openstack", &key), &message).await.unwrap();
        }
        let mut got = Vec::new();
        while got.last().is_none_or(|last| last != "last") {
            got.push(within(heard.recv()).await.unwrap());
        }
        assert_eq!(got.iter().filter(|event_type| *event_type == "a").count(), times, "{got:?}");
        within(running.stop()).await;
    }
    assert_eq!(ready(&broker, &key).await, 0);
    within(transport.close()).await.unwrap();
}

async fn no_more_are_handled_at_once_than_may_whatever_queue_they_come_from(broker: Broker) {
    let topics = ["a", "b", "c"].map(|name| broker.name(name));
    let transport = broker.transport().await;
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (waiting, highest) = (gate.clone(), most.clone());
    let listener = transport.listener(&topics[0]).topic(&topics[1]).topic(&topics[2]);
    let listener = listener.concurrency(2).prefetch(10).on(Level::Info, move |_| {
        let (gate, running, most, begun) = (waiting.clone(), running.clone(), most.clone(), begun.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = begun.send(());
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            NotificationResult::Handled
        }
    });
    let listening = within(listener.start()).await.unwrap();
    let emit = |transport: &Transport, topic: &str| transport.notifier("p", topic);
    for topic in topics.iter().cycle().take(9) {
        within(emit(&transport, topic).info(&Context::new(), "e", &())).await.unwrap();
    }
    for _ in 0..2 {
        within(begins.recv()).await.unwrap();
    }
    for _ in 2..9 {
        gate.add_permits(1);
        within(begins.recv()).await.unwrap();
    }
    gate.add_permits(2);
    within(listening.stop()).await;
    assert_eq!(highest.load(Ordering::SeqCst), 2);
    within(transport.close()).await.unwrap();
}

on_every_broker_and_redis! {
    a_listener_that_is_to_remember_nothing_handles_a_duplicate_again,
    poison_is_tried_again_later_then_set_aside_and_holds_up_nobody,
    what_cannot_be_read_is_set_aside_at_once_and_rejected_only_where_that_is_asked_for,
    a_duplicate_is_acknowledged_and_handled_again_only_where_the_first_was_not,
    no_more_are_handled_at_once_than_may_whatever_queue_they_come_from,
    what_cannot_be_set_aside_is_handled_again_after_a_while_and_holds_up_nobody,
}
