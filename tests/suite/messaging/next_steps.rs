//! The log tells of a failure its subject, its trace, and the next step.

use std::time::Duration;

use amqp_broker::PublishFault;
use amqp_client::{DeleteOptions, Message, Properties, Queue, ShortString, Table};
use messaging::{
    Exchange, OnFailure, PublishOptions, RetryLater, Target, Transport,
    mailbox::Request,
    notify::{BatchResult, Event, Level, NotificationResult},
    rpc::{Endpoint, Failure},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};
use crate::log::Log;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "trace_id=\"0af7651916cd43dd8448eb211c80319c\"";
const LATER: RetryLater = RetryLater::after(Duration::from_millis(10)).limit(1).dead_letter(true);

/// Publishes within the trace, as a client in another language may.
async fn publish(broker: &Broker, exchange: &str, key: &str, body: &Value) {
    let mut headers = Table::new();
    headers.insert("traceparent", PARENT).unwrap();
    let properties = Properties {
        content_type: Some(ShortString::from_static("application/json")),
        message_id: Some(ShortString::from_static("m-1")),
        headers: Some(headers),
        ..Properties::default()
    };
    let publisher = broker.channel().await.publisher().await.unwrap();
    let message = Message::with_properties(body.to_string(), properties);
    within(publisher.publish((exchange, key), message).await.unwrap()).await.unwrap();
}

fn notification(event_type: &str) -> Value {
    json!({"priority": "INFO", "event_type": event_type, "message_id": "n-1", "payload": null})
}

/// Checks that a line has all of these.
fn has(line: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {line}");
}

/// Checks that a notification that fails is told of twice: when it waits, and when it is set aside.
fn both_steps_are_told(log: &Log, queue: &str, why: &str) {
    for next in ["it is handled again in 10 ms", &format!("it is set aside in queue \"{queue}.dead\"")] {
        let line = log.line(&format!("could not be handled; {next}"));
        has(&line, &["notification{", &format!("queue=\"{queue}\""), "message_id=\"n-1\"", TRACE, why]);
    }
}

async fn delete(broker: &Broker, queue: &str) {
    let channel = broker.channel().await;
    for queue in [format!("{queue}.dead"), format!("{queue}.retry.10")] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

/// Waits until a message is set aside.
async fn set_aside(broker: &Broker, queue: &str) {
    let channel = broker.channel().await;
    let dead = Queue::durable(format!("{queue}.dead"));
    let consume = amqp_client::ConsumeOptions::new().no_ack(true);
    channel.declare(&dead).await.unwrap();
    within(channel.consume(&dead, consume).await.unwrap().recv()).await.unwrap().unwrap();
}

async fn a_notification_is_told_in_the_span_of_its_handler(broker: Broker) {
    let (transport, topic) = (broker.transport().await, broker.name("n"));
    let queue = format!("{topic}.info");
    let (log, _guard) = Log::listen();
    let listener = transport.listener(&topic).on_failure(OnFailure::Retry(LATER));
    let listener = listener.on(Level::Info, |event: Event| {
        tracing::info!("begun");
        assert_ne!(event.event_type(), "panic", "this is what the test is about");
        async {
            tokio::task::yield_now().await;
            tracing::info!("at work");
            NotificationResult::Requeue
        }
    });
    let listener = within(listener.start()).await.unwrap();
    publish(&broker, "", &queue, &notification("bad")).await;
    set_aside(&broker, &queue).await;
    for words in ["begun", "at work"] {
        has(&log.line(words), &["notification{", &format!("queue=\"{queue}\""), "message_id=\"n-1\"", TRACE]);
    }
    both_steps_are_told(&log, &queue, "its handler requested a requeue");
    let (log, _guard) = Log::listen();
    publish(&broker, "", &queue, &notification("panic")).await;
    set_aside(&broker, &queue).await;
    has(&log.line("the handler of a notification panicked"), &["what happens to it follows", TRACE]);
    both_steps_are_told(&log, &queue, "its handler panicked");
    within(listener.stop()).await;
    delete(&broker, &queue).await;
}

async fn each_notification_of_a_batch_is_told(broker: Broker) {
    let (transport, topic) = (broker.transport().await, broker.name("n"));
    let queue = format!("{topic}.info");
    let listener = transport.batch_listener(&topic, 1).on_failure(OnFailure::Retry(LATER));
    let listener = listener.on(Level::Info, |events: Vec<Event>| {
        assert_ne!(events[0].event_type(), "panic", "this is what the test is about");
        async { BatchResult::Requeue }
    });
    let listener = within(listener.start()).await.unwrap();
    for (event_type, why) in [("bad", "its handler requested a requeue"), ("panic", "its handler panicked")] {
        let (log, _guard) = Log::listen();
        publish(&broker, "", &queue, &notification(event_type)).await;
        set_aside(&broker, &queue).await;
        both_steps_are_told(&log, &queue, why);
        let panics =
            log.lines("the handler of a batch of notifications panicked; what happens to each follows");
        assert_eq!(panics.len(), if event_type == "panic" { 2 } else { 0 });
    }
    within(listener.stop()).await;
    delete(&broker, &queue).await;
}

async fn a_method_that_fails_is_told_with_what_its_caller_gets(broker: Broker) {
    let (transport, topic) = (broker.transport().await, broker.name("t"));
    let (log, _guard) = Log::listen();
    let endpoint = Endpoint::new()
        .method("fail", |_, (): ()| async { Err::<(), _>(Failure::new("ValueError", "no luck")) })
        .method("work", |_, (): ()| async { Ok(()) });
    let server = transport.rpc_server(Target::topic(&topic)).concurrency(1).endpoint(endpoint);
    let server = within(server.start()).await.unwrap();
    let reply_queue = broker.channel().await.declare(&Queue::new(broker.name("replies"))).await.unwrap().name;
    let cast = json!({"method": "fail", "args": {}, "_unique_id": "u-1"});
    let call = json!({"method": "fail", "args": {}, "_msg_id": "r-1", "_reply_q": reply_queue});
    for request in [&cast, &call] {
        publish(&broker, "openstack", &topic, request).await;
    }
    within(transport.rpc_client(Target::topic(&topic)).call::<()>("work", &()).into_future()).await.unwrap();
    within(server.stop()).await.unwrap();
    for (next, id) in [("no caller waits for a reply", "u-1"), ("its caller receives the failure", "r-1")] {
        let line = log.line(&format!("a method failed; {next}"));
        let (queue, id) = (format!("queue=\"{topic}\""), format!("message_id=\"{id}\""));
        has(&line, &["WARN", "request{", &queue, &id, TRACE, "no luck"]);
    }
}

async fn a_command_is_told_in_the_span_of_its_message(broker: Broker) {
    let (transport, namespace) = (broker.transport().await, broker.name("ns"));
    let (log, _guard) = Log::listen();
    let (done, mut finished) = mpsc::unbounded_channel();
    let node = transport.mailbox(&namespace).open().node("w1").handler("work", move |_: Request, (): ()| {
        tracing::info!("begun");
        let done = done.clone();
        async move {
            tokio::task::yield_now().await;
            tracing::info!("at work");
            done.send(()).map_err(|error| error.to_string())?;
            Err::<(), _>("no luck".to_owned())
        }
    });
    let node = within(node.start()).await.unwrap();
    let command = json!({"method": "work", "arguments": {}, "destination": null});
    publish(&broker, &format!("{namespace}.pidbox"), "", &command).await;
    within(finished.recv()).await.unwrap();
    within(node.stop()).await;
    let queue = format!("queue=\"w1.{namespace}.pidbox\"");
    for words in ["begun", "at work", "a command failed; the error is sent to its sender"] {
        has(&log.line(words), &["message{", &queue, "message_id=\"m-1\"", TRACE]);
    }
}

#[tokio::test]
async fn all_causes_of_another_attempt_are_told() {
    let broker = amqp_broker::Broker::builder().build();
    let (log, _guard) = Log::listen_from(tracing::Level::DEBUG);
    let producer = Transport::on(&broker).producer(Exchange::default());
    let needs = PublishOptions::new().declare(Queue::new("q"));
    broker.faults().at_publish(1, PublishFault::DropConnection);
    assert_eq!(within(producer.ensure_publish(("q", &needs), &1)).await.unwrap().attempts, 2);
    has(&log.line("it is published again"), &["routing_key=\"q\"", "attempts=1", "cannot publish: "]);
}

on_every_broker!(
    a_notification_is_told_in_the_span_of_its_handler,
    each_notification_of_a_batch_is_told,
    a_method_that_fails_is_told_with_what_its_caller_gets,
    a_command_is_told_in_the_span_of_its_message,
);
