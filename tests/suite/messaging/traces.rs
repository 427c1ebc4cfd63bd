//! The span in which a handler runs, and the trace that continues in it.

use std::time::Duration;

use amqp_client::{Confirmation, Message, Properties, ShortString, Table};
use messaging::{
    Context, Exchange, Incoming, OnFailure, PublishOptions, Queue, RetryLater, Target, TraceContext,
    Transport,
    notify::{BatchResult, Event, Level, NotificationResult},
    rpc::Endpoint,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};
use crate::log::Log;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn trace() -> TraceContext {
    TraceContext::new(PARENT).unwrap().tracestate("a=b")
}

/// Publishes within the trace, as a client in another language may.
async fn publish(broker: &Broker, exchange: &str, key: &str, body: &Value) {
    let mut headers = Table::new();
    headers.insert("traceparent", PARENT).unwrap();
    headers.insert("tracestate", "a=b").unwrap();
    let properties = Properties {
        content_type: Some(ShortString::from_static("application/json")),
        message_id: Some(ShortString::from_static("m-1")),
        headers: Some(headers),
        ..Properties::default()
    };
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let message = Message::with_properties(body.to_string(), properties);
    let confirm = publisher.publish((exchange, key), message).await.unwrap();
    assert!(matches!(within(confirm).await.unwrap(), Confirmation::Ack));
}

/// A message of a queue, and its trace.
struct Heard {
    queue: String,
    consumer: messaging::Consumer<Value>,
}

impl Heard {
    async fn start(transport: &Transport, queue: Queue, binding: Option<(&Exchange, &str)>) -> Self {
        let subscription = transport.consumer(queue);
        let subscription = match binding {
            Some((exchange, key)) => subscription.bind(exchange, key),
            None => subscription,
        };
        let consumer = within(subscription.start()).await.unwrap();
        Heard { queue: consumer.queue().to_owned(), consumer }
    }

    async fn trace(&mut self) -> Option<TraceContext> {
        let delivery = within(self.consumer.recv()).await.unwrap().unwrap();
        let trace = TraceContext::of(&delivery.properties().unwrap());
        delivery.ack().await.unwrap();
        trace
    }
}

async fn what_a_handler_publishes_carries_its_messages_trace_on(broker: Broker) {
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let mut heard = Heard::start(&transport, Queue::new("").exclusive(true), None).await;
    let (producer, key) = (transport.producer(Exchange::default()), heard.queue.clone());
    let worker = transport.worker(Queue::new(&queue).auto_delete(true)).concurrency(2).start(
        move |message: Incoming<Value>| {
            let at_once = TraceContext::current();
            let (producer, key) = (producer.clone(), key.clone());
            async move {
                producer.ensure_publish(&key, message.body()).await?;
                // A spawned task is in the trace only if it takes the span along.
                let spawned =
                    async move { producer.ensure_publish(&key, &TraceContext::current().is_some()).await };
                match at_once {
                    Some(trace) => tokio::spawn(trace.scope(spawned)).await.unwrap()?,
                    None => tokio::spawn(spawned).await.unwrap()?,
                };
                Ok::<_, messaging::Error>(())
            }
        },
    );
    let worker = within(worker).await.unwrap();
    publish(&broker, "", &queue, &json!(1)).await;
    assert_eq!((heard.trace().await, heard.trace().await), (Some(trace()), Some(trace())));
    // Another message has no trace.
    within(transport.producer(Exchange::default()).ensure_publish(&queue, &2)).await.unwrap();
    assert_eq!((heard.trace().await, heard.trace().await), (None, None));
    within(worker.stop()).await;
}

async fn calls_and_notifications_carry_it_on_too(broker: Broker) {
    let (transport, topic, events) = (broker.transport().await, broker.name("t"), broker.name("n"));
    let other = Target::topic(broker.name("other"));
    let nested = transport.rpc_client(other.clone());
    let notifier = transport.notifier("p", &events);
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let (nested, notifier) = (nested.clone(), notifier.clone());
        async move {
            nested.call::<()>("nothing", &()).await?;
            notifier.info(&Context::new(), "e", &1).await?;
            Ok("done")
        }
    });
    let (told, mut traces) = mpsc::unbounded_channel();
    let tell = told.clone();
    let nothing = Endpoint::new().method("nothing", move |_, (): ()| {
        told.send(TraceContext::current()).unwrap();
        async { Ok(()) }
    });
    let listener = transport.listener(&events).on(Level::Info, move |_: Event| {
        tell.send(TraceContext::current()).unwrap();
        async { NotificationResult::Handled }
    });
    let listener = within(listener.start()).await.unwrap();
    let server = within(transport.rpc_server(Target::topic(&topic).server("s")).endpoint(endpoint).start());
    let server = server.await.unwrap();
    let second = within(transport.rpc_server(other.server("s")).endpoint(nothing).start()).await.unwrap();
    let mut replies = Heard::start(&transport, Queue::new("").exclusive(true), None).await;
    let request = json!({
        "method": "work", "args": {}, "_unique_id": "u", "_msg_id": "5fcebaf07d464aa48f7a1e9546ccf035",
        "_reply_q": replies.queue,
    });
    publish(&broker, "openstack", &topic, &request).await;
    for _ in ["call", "notification"] {
        assert_eq!(within(traces.recv()).await.unwrap(), Some(trace()));
    }
    assert_eq!(replies.trace().await, Some(trace()));
    within(listener.stop()).await;
    within(server.stop()).await.unwrap();
    within(second.stop()).await.unwrap();
}

on_every_broker_and_redis!(
    what_a_handler_publishes_carries_its_messages_trace_on,
    calls_and_notifications_carry_it_on_too,
);

#[tokio::test]
async fn what_a_handler_logs_tells_queue_message_and_trace() {
    let broker = Broker::memory();
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let (log, _guard) = Log::listen();
    let (done, mut finished) = mpsc::unbounded_channel();
    let worker = transport.worker(Queue::new(&queue)).start(move |_: Incoming<Value>| {
        tracing::info!("begun");
        let done = done.clone();
        async move {
            tokio::task::yield_now().await;
            tracing::info!("at work");
            done.send(()).map_err(|error| error.to_string())
        }
    });
    let worker = within(worker).await.unwrap();
    publish(&broker, "", &queue, &json!(1)).await;
    within(finished.recv()).await.unwrap();
    within(worker.stop()).await;
    for words in ["begun", "at work"] {
        let line = log.line(words);
        for field in
            [format!("queue=\"{queue}\""), "message_id=\"m-1\"".into(), format!("trace_id=\"{TRACE}\"")]
        {
            assert!(line.contains(&field), "{line}");
        }
    }
}

#[tokio::test]
async fn so_does_what_is_done_with_a_message_that_cannot_be_decoded() {
    let broker = Broker::memory();
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let (log, _guard) = Log::listen();
    let (told, mut traces) = mpsc::unbounded_channel();
    let worker = transport
        .worker(Queue::new(&queue))
        .on_undecodable(move |_, _| {
            tracing::info!("begun");
            told.send(TraceContext::current()).unwrap();
            async {
                tokio::task::yield_now().await;
                tracing::info!("at work");
                Err("it is not mine")
            }
        })
        .start(|_: Incoming<u32>| async { Ok::<_, String>(()) });
    let worker = within(worker).await.unwrap();
    publish(&broker, "", &queue, &json!("no number")).await;
    assert_eq!(within(traces.recv()).await.unwrap(), Some(trace()));
    within(worker.stop()).await;
    for words in ["begun", "at work", "it is not mine"] {
        let line = log.line(words);
        for field in [format!("queue=\"{queue}\""), "m-1".into(), format!("trace_id=\"{TRACE}\"")] {
            assert!(line.contains(&field), "{line}");
        }
    }
}

#[tokio::test]
async fn what_is_logged_of_a_batch_tells_its_queues() {
    let broker = Broker::memory();
    let (transport, topics) = (broker.transport().await, [broker.name("a"), broker.name("b")]);
    let (log, _guard) = Log::listen();
    let (done, mut finished) = mpsc::unbounded_channel();
    let listener = transport
        .batch_listener(&topics[0], 3)
        .topic(&topics[1])
        .timeout(Duration::from_secs(1000))
        .on(Level::Info, move |events: Vec<Event>| {
            tracing::info!("begun");
            let done = done.clone();
            async move {
                tokio::task::yield_now().await;
                tracing::info!("at work");
                done.send(events.len()).unwrap();
                BatchResult::Handled
            }
        });
    let listener = within(listener.start()).await.unwrap();
    for topic in [&topics[0], &topics[1], &topics[0]] {
        within(transport.notifier("p", topic).info(&Context::new(), "e", &1)).await.unwrap();
    }
    assert_eq!(within(finished.recv()).await, Some(3));
    within(listener.stop()).await;
    for words in ["begun", "at work"] {
        let line = log.line(words);
        assert!(line.contains("batch{") && line.contains("notifications=3"), "{line}");
        assert!(topics.iter().all(|topic| line.contains(&format!("{topic}.info"))), "{line}");
    }
}

#[tokio::test]
async fn what_is_logged_of_a_failure_tells_what_comes_next() {
    let broker = Broker::memory();
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let (log, _guard) = Log::listen();
    let later = RetryLater::after(Duration::from_millis(10)).limit(1).dead_letter(true);
    let worker = transport
        .worker(Queue::durable(&queue))
        .on_failure(OnFailure::Retry(later))
        .start(|message: Incoming<u32>| async move { Err::<(), _>(format!("no {}", message.body())) });
    let worker = within(worker).await.unwrap();
    let mut dead = Heard::start(&transport, Queue::durable(format!("{queue}.dead")), None).await;
    publish(&broker, "", &queue, &json!(1)).await;
    assert_eq!(dead.trace().await, Some(trace()));
    publish(&broker, "", &queue, &json!("no number")).await;
    dead.trace().await;
    within(worker.stop()).await;
    let set_aside = format!("it is set aside in queue \"{queue}.dead\"");
    for (what, next) in [
        ("could not be handled; it is handled again", "in 10 ms"),
        ("could not be handled; it is set aside", &set_aside),
        ("cannot be decoded", &set_aside),
    ] {
        let line = log.line(what);
        assert!(line.contains(next) && line.contains("m-1") && line.contains(&queue), "{line}");
    }
    assert!(log.line("could not be handled").contains(TRACE));
}

#[tokio::test]
async fn what_a_method_logs_tells_them_too_and_no_more_than_the_beginning_of_an_id() {
    let broker = Broker::memory();
    let (transport, topic) = (broker.transport().await, broker.name("t"));
    let (log, _guard) = Log::listen();
    let endpoint = Endpoint::new().method("work", |_, (): ()| async {
        tracing::info!("at work");
        Ok(())
    });
    let server = within(transport.rpc_server(Target::topic(&topic)).endpoint(endpoint).start());
    let server = server.await.unwrap();
    let id = "x".repeat(100_000);
    publish(&broker, "openstack", &topic, &json!({"method": "work", "args": {}, "_unique_id": id})).await;
    within(async {
        while server.metrics().answered == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(server.stop()).await.unwrap();
    let line = log.line("at work");
    let begin = format!("message_id=\"{}\"", &id[..100]);
    for field in [&format!("queue=\"{topic}\""), "method=\"work\"", &begin, &format!("trace_id=\"{TRACE}\"")]
    {
        assert!(line.contains(field), "{line}");
    }
}

#[tokio::test]
async fn what_the_options_say_comes_before_the_trace_of_the_message() {
    let broker = Broker::memory();
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let own = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut heard = Heard::start(&transport, Queue::new("").exclusive(true), None).await;
    let (producer, key) = (transport.producer(Exchange::default()), heard.queue.clone());
    let worker = transport.worker(Queue::new(&queue)).start(move |_: Incoming<Value>| {
        let (producer, key) = (producer.clone(), key.clone());
        async move {
            let options = PublishOptions::new().header("traceparent", own)?;
            producer.ensure_publish((&key, &options), &1).await.map(drop)
        }
    });
    let worker = within(worker).await.unwrap();
    publish(&broker, "", &queue, &json!(1)).await;
    assert_eq!(heard.trace().await, TraceContext::new(own));
    within(worker.stop()).await;
}
