//! Handlers, and the messages that they fail on.

use amqp_client::{DeleteOptions, Message};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use messaging::{
    Exchange, Incoming, OnFailure, PublishOptions, Queue, Report, RetryLater, Transport, tagged,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

async fn publish(transport: &Transport, queue: &str, body: &str) {
    let producer = transport.producer(Exchange::default()).mandatory(true);
    within(producer.ensure_publish(queue, body)).await.unwrap();
}

async fn ready(broker: &Broker, queue: &str) -> u32 {
    broker.channel().await.declare(Queue::new(queue).passive(true)).await.unwrap().messages
}

async fn what_succeeds_is_acknowledged_and_no_more_run_at_once_than_may(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (done, mut finished) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let (opened, highest) = (gate.clone(), most.clone());
    let worker = transport
        .worker(Queue::new(&queue))
        .concurrency(3)
        .start(move |message: Incoming<String>| {
            let (running, most, gate, done) = (running.clone(), most.clone(), gate.clone(), done.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                done.send(message.into_body()).unwrap();
                Ok::<_, String>(())
            }
        })
        .await
        .unwrap();
    for number in 0..10 {
        publish(&transport, &queue, &number.to_string()).await;
    }
    for _ in 0..10 {
        opened.add_permits(1);
        within(finished.recv()).await.unwrap();
    }
    within(worker.stop()).await;
    assert_eq!(highest.load(Ordering::SeqCst), 3);
    assert_eq!(ready(&broker, &queue).await, 0);
}

async fn stopping_waits_for_what_runs_and_takes_no_more(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let (begun, mut begins) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let worker = transport
        .worker(Queue::new(&queue))
        .start(move |_: Incoming<String>| {
            let (begun, gate) = (begun.clone(), gate.clone());
            async move {
                begun.send(()).unwrap();
                gate.acquire().await.unwrap().forget();
                Ok::<_, String>(())
            }
        })
        .await
        .unwrap();
    publish(&transport, &queue, "a").await;
    publish(&transport, &queue, "b").await;
    within(begins.recv()).await.unwrap();
    let stopping = tokio::spawn(worker.stop());
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    opened.add_permits(1);
    within(stopping).await.unwrap();
    assert_eq!(ready(&broker, &queue).await, 1);
}

/// A body that refuses one text.
#[derive(serde::Deserialize)]
#[serde(from = "String")]
struct Fragile(String);

impl From<String> for Fragile {
    fn from(text: String) -> Self {
        assert_ne!(text, "panic when read");
        Fragile(text)
    }
}

/// An error that panics when displayed, if it is told to.
#[derive(Debug)]
struct Unspeakable(bool);

impl std::error::Error for Unspeakable {}

impl fmt::Display for Unspeakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.0, "on purpose");
        f.write_str("no")
    }
}

async fn a_failure_or_a_panic_is_rejected_by_default_and_the_worker_goes_on(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let (done, mut finished) = mpsc::unbounded_channel();
    let worker = transport
        .worker(Queue::new(&queue))
        .start(move |message: Incoming<Fragile>| {
            let done = done.clone();
            assert_ne!(message.body().0, "panic at once");
            async move {
                match message.body().0.as_str() {
                    "fail" => Err(Unspeakable(false)),
                    "fail unspeakably" => Err(Unspeakable(true)),
                    "panic" => panic!("on purpose"),
                    _ => {
                        done.send(()).unwrap();
                        Ok(())
                    }
                }
            }
        })
        .await
        .unwrap();
    for body in ["fail", "fail unspeakably", "panic", "panic at once", "panic when read", "good"] {
        publish(&transport, &queue, body).await;
    }
    within(finished.recv()).await.unwrap();
    within(worker.stop()).await;
    assert_eq!(ready(&broker, &queue).await, 0);
}

async fn what_fails_is_tried_again_after_a_while_and_then_set_aside(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let events = Exchange::topic(broker.name("events"));
    let (seen, mut attempts) = mpsc::unbounded_channel();
    let later = RetryLater::after(Duration::from_millis(20)).limit(2).dead_letter(true);
    let worker = transport
        .worker(Queue::new(&queue))
        .bind(&events, "job.#")
        .on_failure(OnFailure::Retry(later))
        .start(move |message: Incoming<String>| {
            seen.send((message.retries(), message.exchange().to_owned(), message.routing_key().to_owned()))
                .unwrap();
            async move { Err::<(), _>(format!("cannot {}", message.body())) }
        })
        .await
        .unwrap();
    let options = PublishOptions::new().message_id("the id").unwrap();
    let producer = transport.producer(events.clone()).mandatory(true);
    within(producer.ensure_publish(("job.run", &options), "run")).await.unwrap();
    for retries in 0..=2 {
        let attempt = within(attempts.recv()).await.unwrap();
        assert_eq!(attempt, (retries, events.name().to_owned(), "job.run".to_owned()));
    }
    let dead = format!("{queue}.dead");
    let mut set_aside = transport.consumer(Queue::durable(&dead)).start::<String>().await.unwrap();
    let message = within(set_aside.recv()).await.unwrap().unwrap();
    assert_eq!(message.body(), "run");
    let properties = message.properties().unwrap();
    assert_eq!(properties.message_id.as_ref().unwrap(), &"the id");
    let headers = properties.headers.unwrap();
    assert_eq!(headers.get("x-failure").unwrap().as_str(), Some("cannot run"));
    assert_eq!(headers.get("x-original-routing-key").unwrap().as_str(), Some("job.run"));
    message.ack().await.unwrap();
    within(worker.stop()).await;
    assert_eq!(ready(&broker, &queue).await, 0);
    let channel = broker.channel().await;
    for queue in [dead, format!("{queue}.retry.20")] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

async fn what_cannot_be_read_is_set_aside_at_once(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let handled = Arc::new(AtomicU32::new(0));
    let counted = handled.clone();
    let later = RetryLater::after(Duration::from_secs(60)).dead_letter(true);
    let worker = transport
        .worker(Queue::new(&queue))
        .on_failure(OnFailure::Retry(later))
        .start(move |_: Incoming<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, String>(()) }
        })
        .await
        .unwrap();
    publish(&transport, &queue, "no number").await;
    let dead = format!("{queue}.dead");
    let mut set_aside = transport.consumer(Queue::durable(&dead)).start::<String>().await.unwrap();
    within(set_aside.recv()).await.unwrap().unwrap().ack().await.unwrap();
    within(worker.stop()).await;
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    broker.channel().await.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
}

async fn what_cannot_be_read_goes_to_who_is_there_for_it(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let (told, mut reasons) = mpsc::unbounded_channel();
    let later = RetryLater::after(Duration::from_secs(60)).dead_letter(true);
    let worker = transport
        .worker(Queue::new(&queue))
        .on_failure(OnFailure::Retry(later))
        .on_undecodable(move |message, reason| {
            told.send((message.body().clone(), Report(&reason).to_string())).unwrap();
            let body = message.body().clone();
            assert_ne!(body, "\"panic\"");
            async move { if body == "\"fine\"" { Ok(()) } else { Err("not mine") } }
        })
        .start(move |_: Incoming<u32>| async { Ok::<_, String>(()) })
        .await
        .unwrap();
    let dead = format!("{queue}.dead");
    for body in ["fine", "other", "panic"] {
        publish(&transport, &queue, body).await;
        let (told, reason) = within(reasons.recv()).await.unwrap();
        assert_eq!(told, format!("\"{body}\""));
        assert!(reason.contains("invalid type: string"), "{reason}");
    }
    let mut set_aside = transport.consumer(Queue::durable(&dead)).start::<String>().await.unwrap();
    for body in ["other", "panic"] {
        let message = within(set_aside.recv()).await.unwrap().unwrap();
        assert_eq!(message.body(), body);
        message.ack().await.unwrap();
    }
    within(worker.stop()).await;
    assert_eq!(ready(&broker, &queue).await, 0);
    broker.channel().await.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
}

/// kombu 5.3.0 alone writes a version beside the digits.
async fn uuids_are_read_as_every_kombu_writes_them(broker: Broker) {
    const HEX: &str = "c9b56ef7b2a04cd29be1e2d9b1b3a9b5";
    #[derive(Deserialize)]
    struct Job {
        #[serde(with = "tagged")]
        id: Uuid,
    }
    let id = Uuid::parse_str(HEX).unwrap();
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let (told, mut handled) = mpsc::unbounded_channel();
    let worker = transport.worker(Queue::new(&queue)).start(move |message: Incoming<Job>| {
        told.send(message.into_body().id).unwrap();
        async { Ok::<_, String>(()) }
    });
    let worker = within(worker).await.unwrap();
    let channel = broker.channel().await;
    for payload in [json!({"hex": HEX, "version": 4}), json!({"hex": HEX})] {
        let body = json!({"id": {"__type__": "uuid", "__value__": payload}}).to_string();
        let message = Message::new(body).content_type("application/json");
        channel.publish(("", &queue), &message).await.unwrap();
        assert_eq!(within(handled.recv()).await, Some(id), "{payload}");
    }
    within(worker.stop()).await;
    assert_eq!(ready(&broker, &queue).await, 0);
}

on_every_broker_and_redis!(
    what_succeeds_is_acknowledged_and_no_more_run_at_once_than_may,
    stopping_waits_for_what_runs_and_takes_no_more,
    a_failure_or_a_panic_is_rejected_by_default_and_the_worker_goes_on,
    what_fails_is_tried_again_after_a_while_and_then_set_aside,
    what_cannot_be_read_is_set_aside_at_once,
    what_cannot_be_read_goes_to_who_is_there_for_it,
    uuids_are_read_as_every_kombu_writes_them,
);

/// RabbitMQ closes a channel that holds a message for over 30 minutes.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_set_aside_goes_back_in_time_also_when_its_handler_takes_long() {
    const MINUTE: Duration = Duration::from_secs(60);
    for minutes in [6, 13, 26] {
        let broker = Broker::memory();
        let (transport, queue) = (broker.transport().await, broker.name("q"));
        // It is transient, but should be durable.
        broker.channel().await.declare(&Queue::new(format!("{queue}.dead"))).await.unwrap();
        let later = RetryLater::after(Duration::from_millis(20)).limit(0).dead_letter(true);
        let (told, mut handled) = mpsc::unbounded_channel();
        let worker = transport.worker(Queue::new(&queue)).on_failure(OnFailure::Retry(later)).start(
            move |message: Incoming<String>| {
                told.send((Instant::now(), message.redelivered())).unwrap();
                async move {
                    sleep(minutes * MINUTE).await;
                    Err::<(), _>("it is bad")
                }
            },
        );
        let worker = within(worker).await.unwrap();
        publish(&transport, &queue, "bad").await;
        let (first, _) = handled.recv().await.unwrap();
        loop {
            let (again, has_gone_back) = handled.recv().await.unwrap();
            assert!(again - first < 27 * MINUTE, "{minutes}: held for {:?}", again - first);
            if has_gone_back {
                break;
            }
        }
        drop(worker);
    }
}
