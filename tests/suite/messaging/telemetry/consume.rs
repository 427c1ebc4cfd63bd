//! The spans of consuming.

use std::time::Duration;

use amqp_client::Queue;
use messaging::{
    Context as RpcContext, Exchange, Incoming, OnFailure, PublishOptions, RetryLater, TraceContext,
    Transport,
    notify::{BatchResult, Event, Level, NotificationResult},
};
use opentelemetry::{
    Context,
    context::FutureExt as _,
    trace::{SpanKind, TraceContextExt as _, TraceId},
};
use tokio::sync::mpsc;

use super::{
    on_every_broker,
    recorded::{Recorded, Shown as _},
};
use crate::messaging::fixture::{Broker, within};

/// Has messages of a queue handled as `handler` says, publishes one to it, and waits until it is
/// settled.
async fn handle_one(
    (broker, recorded): (&Broker, &Recorded),
    on_failure: OnFailure,
    handler: fn() -> Result<(), &'static str>,
    settled: &str,
) -> String {
    let (queue, transport) = (broker.name("q"), recorded.transport(broker).await);
    let worker = transport.worker(Queue::new(&queue)).on_failure(on_failure);
    let worker = within(worker.start(move |_: Incoming<u32>| async move { handler() })).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish(&queue, &1)).await.unwrap();
    recorded.some(1, &format!("{settled} {queue}")).await;
    within(worker.stop()).await;
    queue
}

async fn a_handler_is_a_consumer_span_under_the_publish(broker: Broker) {
    let (recorded, name) = (Recorded::new(), broker.name("x"));
    let (transport, exchange, queue) =
        (recorded.transport(&broker).await, Exchange::topic(&name), broker.name("q"));
    let (told, mut current) = mpsc::unbounded_channel();
    let later = transport.clone();
    let (out, next) = (broker.name("out"), Exchange::topic(broker.name("y")));
    let key = out.clone();
    let worker =
        transport.worker(Queue::new(&queue)).bind(&exchange, "a.*").start(move |_: Incoming<u32>| {
            told.send((TraceContext::current(), Context::current().span().span_context().clone())).unwrap();
            let (producer, key) = (later.producer(next.clone()), key.clone());
            async move {
                tokio::task::yield_now().await;
                producer.ensure_publish(&key, &2).await.map(drop)
            }
        });
    let worker = within(worker).await.unwrap();
    let options = PublishOptions::new().message_id("m-1").unwrap();
    within(transport.producer(exchange).ensure_publish(("a.b", &options), &1)).await.unwrap();
    let published = recorded.span(&format!("publish {name}:a.b")).await;
    let handled = recorded.span(&format!("process {name}:a.b:{queue}")).await;
    assert_eq!(handled.kind(), SpanKind::Consumer);
    assert!(handled.is_child_of(&published.span_context) && handled.parent_span_is_remote, "{handled:?}");
    assert!(handled.links_to(&published.span_context), "{handled:?}");
    for (attribute, value) in [
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &format!("{name}:a.b:{queue}")),
        ("messaging.rabbitmq.destination.routing_key", "a.b"),
        ("messaging.message.id", "m-1"),
    ] {
        assert_eq!(handled.text(attribute).as_deref(), Some(value), "{attribute}");
    }
    let (trace, span) = within(current.recv()).await.unwrap();
    assert_eq!(span.span_id(), handled.span_context.span_id());
    assert!(trace.unwrap().traceparent().contains(&span.span_id().to_string()));
    let nested = recorded.some(1, &format!("publish {}:{out}", broker.name("y"))).await.remove(0);
    assert!(nested.is_child_of(&handled.span_context), "{nested:?}");
    let acked = recorded.span(&format!("ack {name}:a.b:{queue}")).await;
    assert_eq!(acked.kind(), SpanKind::Client);
    assert!(acked.is_child_of(&handled.span_context) && acked.links_to(&published.span_context), "{acked:?}");
    assert_eq!(acked.text("messaging.operation.type").as_deref(), Some("settle"));
    within(worker.stop()).await;
}

async fn a_queue_of_two_exchanges_tells_them_apart(broker: Broker) {
    let (recorded, queue) = (Recorded::new(), broker.name("q"));
    let (transport, names) = (recorded.transport(&broker).await, ["x", "y"].map(|name| broker.name(name)));
    let exchanges = names.each_ref().map(Exchange::topic);
    let worker = transport.worker(Queue::new(&queue)).bind(&exchanges[0], "#").bind(&exchanges[1], "#");
    let handler = |_: Incoming<u32>| async { Ok::<_, String>(()) };
    let worker = within(worker.start(handler)).await.unwrap();
    for exchange in exchanges {
        within(transport.producer(exchange).ensure_publish("k", &1)).await.unwrap();
    }
    for name in names {
        recorded.span(&format!("ack {name}:k:{queue}")).await;
    }
    within(worker.stop()).await;
}

async fn a_failure_and_its_settlement_are_told(broker: Broker) {
    let recorded = Recorded::new();
    let observed = (&broker, &recorded);
    let queue = handle_one(observed, OnFailure::Reject, || Err("no"), "nack").await;
    let handled = recorded.span(&format!("process {queue}")).await;
    assert!(handled.has_failed());
    assert_eq!(handled.text("error.type").as_deref(), Some("handler_failed"));
    let settled = recorded.span(&format!("nack {queue}")).await;
    assert!(settled.is_child_of(&handled.span_context) && !settled.has_failed());

    let recorded = Recorded::new();
    let queue = handle_one((&broker, &recorded), OnFailure::Reject, || panic!("on purpose"), "nack").await;
    let handled = recorded.span(&format!("process {queue}")).await;
    assert_eq!(handled.text("error.type").as_deref(), Some("handler_panicked"));
}

async fn a_message_that_is_retried_later_keeps_its_trace(broker: Broker) {
    let recorded = Recorded::new();
    let later = RetryLater::after(Duration::from_millis(1)).limit(1);
    let observed = (&broker, &recorded);
    let queue = handle_one(observed, OnFailure::Retry(later), || Err("no"), "nack").await;
    let published = recorded.span(&format!("publish {queue}")).await;
    let handled = recorded.some(2, &format!("process {queue}")).await;
    assert!(handled.iter().all(|handled| handled.is_child_of(&published.span_context)), "{handled:?}");
    let moved = recorded.span(&format!("publish {queue}.retry.1")).await;
    assert_eq!(moved.kind(), SpanKind::Client);
    assert!(moved.is_child_of(&handled[0].span_context), "{moved:?}");
    assert!(moved.links_to(&published.span_context), "{moved:?}");
}

async fn a_handler_may_begin_a_trace_of_its_own(broker: Broker) {
    let (recorded, queue) = (Recorded::new(), broker.name("q"));
    let options = messaging::TransportOptions::new().telemetry(recorded.telemetry().continue_traces(false));
    let transport = within(options.connect(&broker.url)).await.unwrap();
    let handler = |_: Incoming<u32>| async { Ok::<_, String>(()) };
    let worker = within(transport.worker(Queue::new(&queue)).start(handler)).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish(&queue, &1)).await.unwrap();
    let published = recorded.span(&format!("publish {queue}")).await;
    let handled = recorded.span(&format!("process {queue}")).await;
    assert_ne!(handled.span_context.trace_id(), published.span_context.trace_id());
    assert!(handled.links_to(&published.span_context), "{handled:?}");
    within(worker.stop()).await;
}

async fn a_message_that_is_asked_for_is_received_and_settled(broker: Broker) {
    let (recorded, queue) = (Recorded::new(), broker.name("q"));
    let (transport, own) = (recorded.transport(&broker).await, recorded.own("own"));
    let mut consumer = within(transport.consumer(Queue::new(&queue)).start::<u32>()).await.unwrap();
    let producer = transport.producer(Exchange::default());
    let receiving = async {
        // Somebody who waits has begun to receive.
        let (received, _) = tokio::join!(consumer.recv(), producer.ensure_publish(&queue, &1));
        received.unwrap().unwrap().ack().await.unwrap();
    };
    within(receiving.with_context(own.clone())).await;
    let published = recorded.span(&format!("publish {queue}")).await;
    for (name, kind) in [("receive", "receive"), ("ack", "settle")] {
        let span = recorded.span(&format!("{name} {queue}")).await;
        assert_eq!(span.kind(), SpanKind::Client);
        assert_eq!(span.text("messaging.operation.type").as_deref(), Some(kind));
        assert!(span.is_child_of(own.span().span_context()), "{span:?}");
        assert!(span.links_to(&published.span_context), "{span:?}");
    }
    let received = recorded.span(&format!("receive {queue}")).await;
    assert!(received.start_time <= published.start_time, "{received:?}");
    within(producer.ensure_publish(&queue, "no number")).await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap_err();
    let received = recorded.some(2, &format!("receive {queue}")).await.remove(1);
    assert_eq!(received.text("error.type").as_deref(), Some("undecodable"));
}

async fn notifications_are_handled_alone_or_together(broker: Broker) {
    let (recorded, topics) = (Recorded::new(), ["one", "many"].map(|name| broker.name(name)));
    let transport = recorded.transport(&broker).await;
    let one =
        transport.listener(&topics[0]).on(Level::Info, |_: Event| async { NotificationResult::Handled });
    let one = within(one.start()).await.unwrap();
    let many = transport.batch_listener(&topics[1], 2).timeout(Duration::from_secs(1000));
    let many = many.on(Level::Info, |_: Vec<Event>| async { BatchResult::Handled });
    let many = within(many.start()).await.unwrap();
    for topic in [&topics[0], &topics[1], &topics[1]] {
        let notifier = transport.notifier("p", topic);
        within(notifier.info(&RpcContext::new(), "e", &1)).await.unwrap();
    }
    let published = recorded.span(&format!("publish openstack:{}.info", topics[0])).await;
    let handled = recorded.span(&format!("process openstack:{}.info", topics[0])).await;
    assert!(handled.is_child_of(&published.span_context) && handled.links_to(&published.span_context));
    let published = recorded.some(2, &format!("publish openstack:{}.info", topics[1])).await;
    let acked = recorded.some(2, &format!("ack openstack:{}.info", topics[1])).await;
    let handled = recorded.span(&format!("process {}.info", topics[1])).await;
    assert_eq!(handled.text("messaging.batch.message_count").as_deref(), Some("2"));
    let consumed = [("messaging.destination.name", &*format!("{}.info", topics[1]))];
    assert_eq!(recorded.total("messaging.client.consumed.messages", &consumed), 2.0);
    assert_eq!(handled.kind(), SpanKind::Consumer);
    for published in &published {
        assert!(handled.links_to(&published.span_context), "{handled:?}");
        assert!(acked.iter().any(|acked| acked.links_to(&published.span_context)));
        assert_ne!(handled.span_context.trace_id(), published.span_context.trace_id());
    }
    within(one.stop()).await;
    within(many.stop()).await;
}

on_every_broker!(
    a_handler_is_a_consumer_span_under_the_publish,
    a_queue_of_two_exchanges_tells_them_apart,
    a_failure_and_its_settlement_are_told,
    a_message_that_is_retried_later_keeps_its_trace,
    a_handler_may_begin_a_trace_of_its_own,
    a_message_that_is_asked_for_is_received_and_settled,
    notifications_are_handled_alone_or_together,
);

#[tokio::test]
async fn a_spawned_task_of_a_handler_goes_on_in_its_scope() {
    let (broker, recorded, queue) = (Broker::memory(), Recorded::new(), "q");
    let transport = recorded.transport(&broker).await;
    let (told, mut traces) = mpsc::unbounded_channel::<TraceId>();
    let worker = transport.worker(Queue::new(queue)).start(move |_: Incoming<u32>| {
        let told = told.clone();
        async move {
            let spawned = async move { told.send(Context::current().span().span_context().trace_id()) };
            let trace = TraceContext::current().ok_or("there is no trace")?;
            tokio::spawn(trace.scope(spawned)).await.unwrap().map_err(|_| "nobody listens")
        }
    });
    let worker = within(worker).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish(queue, &1)).await.unwrap();
    let published = recorded.span("publish q").await;
    assert_eq!(within(traces.recv()).await, Some(published.span_context.trace_id()));
    within(worker.stop()).await;
}

#[tokio::test]
async fn a_transport_without_telemetry_carries_the_trace_of_a_handler_on() {
    let (broker, recorded) = (Broker::memory(), Recorded::new());
    let (transport, plain) = (recorded.transport(&broker).await, broker.transport().await);
    let mut out = within(plain.consumer(Queue::new("out")).start::<u32>()).await.unwrap();
    let worker = start_relay(&transport, plain).await;
    within(transport.producer(Exchange::default()).ensure_publish("q", &1)).await.unwrap();
    let handled = recorded.span("process q").await;
    let delivery = within(out.recv()).await.unwrap().unwrap();
    let trace = TraceContext::of(&delivery.properties().unwrap()).unwrap();
    assert_eq!(trace.trace_id(), handled.span_context.trace_id().to_string());
    within(worker.stop()).await;
}

async fn start_relay(transport: &Transport, plain: Transport) -> messaging::Worker {
    let worker = transport.worker(Queue::new("q")).start(move |_: Incoming<u32>| {
        let producer = plain.producer(Exchange::default());
        async move { producer.ensure_publish("out", &2).await.map(drop) }
    });
    within(worker).await.unwrap()
}
