//! The spans of publishing.

use amqp_client::{Properties, Queue};
use futures_util::{StreamExt as _, stream};
use messaging::{Exchange, PublishOptions, TraceContext, Transport};
use opentelemetry::{
    context::FutureExt as _,
    trace::{SpanContext, SpanKind, TraceContextExt as _},
};

use super::{
    on_every_broker,
    recorded::{Recorded, Shown as _},
};
use crate::messaging::fixture::{Broker, within};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Receives messages without telemetry.
struct Sink(messaging::Consumer<serde_json::Value>);

impl Sink {
    async fn bound(broker: &Broker, exchange: &Exchange, key: &str) -> Self {
        let transport = broker.transport().await;
        let queue = Queue::new(broker.name("sink")).auto_delete(true);
        Sink(within(transport.consumer(queue).bind(exchange, key).start()).await.unwrap())
    }

    async fn properties(&mut self) -> Properties {
        let delivery = within(self.0.recv()).await.unwrap().unwrap();
        let properties = delivery.properties().unwrap();
        delivery.ack().await.unwrap();
        properties
    }
}

fn is_position(trace: &TraceContext, span: &SpanContext) -> bool {
    trace.traceparent() == format!("00-{}-{}-01", span.trace_id(), span.span_id())
}

async fn a_publish_is_a_producer_span_whose_context_the_message_carries(broker: Broker) {
    let (recorded, name) = (Recorded::new(), broker.name("x"));
    let (exchange, transport) = (Exchange::topic(&name), recorded.transport(&broker).await);
    let mut sink = Sink::bound(&broker, &exchange, "a.#").await;
    let own = recorded.own("own");
    let options = PublishOptions::new().message_id("m-1").unwrap().correlation_id("c-1").unwrap();
    let producer = transport.producer(exchange);
    let publishing = producer.ensure_publish(("a.b", &options), &1).with_context(own.clone());
    within(publishing).await.unwrap();

    let span = recorded.span(&format!("publish {name}:a.b")).await;
    assert_eq!(span.kind(), SpanKind::Producer);
    assert!(span.is_child_of(own.span().span_context()) && span.links.links.is_empty(), "{span:?}");
    for (attribute, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.name", "publish"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", &format!("{name}:a.b")),
        ("messaging.rabbitmq.destination.routing_key", "a.b"),
        ("messaging.message.id", "m-1"),
        ("messaging.message.conversation_id", "c-1"),
    ] {
        assert_eq!(span.text(attribute).as_deref(), Some(value), "{attribute}");
    }
    assert_eq!(span.text("server.address").is_some(), broker.url.starts_with("amqp"));
    assert!(!span.has_failed());
    let scope = &span.instrumentation_scope;
    assert_eq!((scope.name(), scope.schema_url().is_some()), ("messaging", true));
    let properties = sink.properties().await;
    let carried = TraceContext::of(&properties).unwrap();
    assert!(is_position(&carried, &span.span_context), "{carried:?} {span:?}");
    let kept = [&properties.message_id, &properties.correlation_id].map(|id| id.as_ref().unwrap().as_str());
    assert_eq!(kept, [Ok("m-1"), Ok("c-1")]);
}

async fn a_trace_that_a_message_has_already_is_linked_and_kept(broker: Broker) {
    let (recorded, name) = (Recorded::new(), broker.name("x"));
    let exchange = Exchange::direct(&name);
    let mut sink = Sink::bound(&broker, &exchange, "k").await;
    let given = TraceContext::new(PARENT).unwrap();
    let hook = given.clone();
    let options = recorded.options().trace_context(move || Some(hook.clone()));
    let by_hook = within(options.connect(&broker.url)).await.unwrap();
    let by_hand = recorded.transport(&broker).await;
    let header = PublishOptions::new().header("traceparent", PARENT).unwrap();
    let publish = async |transport: Transport, options: PublishOptions| {
        let producer = transport.producer(exchange.clone());
        within(producer.ensure_publish(("k", &options), &1)).await.unwrap();
    };
    publish(by_hand, header).await;
    publish(by_hook, PublishOptions::new()).await;
    for span in recorded.some(2, &format!("publish {name}:k")).await {
        assert_eq!(span.kind(), SpanKind::Client);
        let [link] = &span.links.links[..] else { panic!("{span:?}") };
        assert!(is_position(&given, &link.span_context), "{span:?}");
        assert_ne!(span.span_context.trace_id(), link.span_context.trace_id());
        assert_eq!(TraceContext::of(&sink.properties().await).as_ref(), Some(&given));
    }
}

async fn each_message_of_many_has_a_span_and_all_are_linked(broker: Broker) {
    let (recorded, name) = (Recorded::new(), broker.name("x"));
    let (exchange, transport) = (Exchange::topic(&name), recorded.transport(&broker).await);
    let mut sink = Sink::bound(&broker, &exchange, "#").await;
    let own = recorded.own("own");
    let producer = transport.producer(exchange);
    // One alone is a publish.
    within(producer.ensure_publish("a", &0)).await.unwrap();
    sink.properties().await;
    let publishing = async {
        let mut published = producer.publish_all(stream::iter([("a", 1), ("b", 2)]), 8);
        while let Some(outcome) = published.next().await {
            outcome.unwrap();
        }
    };
    within(publishing.with_context(own.clone())).await;
    let all = recorded.span(&format!("publish {name}")).await;
    assert_eq!((all.kind(), all.links.links.len()), (SpanKind::Client, 2));
    assert_eq!(all.text("messaging.batch.message_count").as_deref(), Some("2"));
    for key in ["a", "b"] {
        let one = recorded.span(&format!("create {name}:{key}")).await;
        assert_eq!(one.kind(), SpanKind::Producer);
        assert_eq!(one.text("messaging.operation.type").as_deref(), Some("create"));
        assert!(one.is_child_of(own.span().span_context()) && all.links_to(&one.span_context), "{one:?}");
        let carried = TraceContext::of(&sink.properties().await).unwrap();
        assert!(is_position(&carried, &one.span_context), "{one:?}");
    }
}

async fn a_message_of_many_that_has_a_trace_already_is_linked_alone(broker: Broker) {
    let (recorded, name) = (Recorded::new(), broker.name("x"));
    let exchange = Exchange::topic(&name);
    let mut sink = Sink::bound(&broker, &exchange, "#").await;
    let given = TraceContext::new(PARENT).unwrap();
    let hook = given.clone();
    let options = recorded.options().trace_context(move || Some(hook.clone()));
    let transport = within(options.connect(&broker.url)).await.unwrap();
    let producer = transport.producer(exchange);
    let mut published = producer.publish_all(stream::iter([("a", 1)]), 8);
    within(published.next()).await.unwrap().unwrap();
    assert!(within(published.next()).await.is_none());
    let all = recorded.span(&format!("publish {name}")).await;
    let [link] = &all.links.links[..] else { panic!("{all:?}") };
    assert!(is_position(&given, &link.span_context), "{all:?}");
    assert_eq!(TraceContext::of(&sink.properties().await), Some(given));
    assert_eq!(recorded.names(), [all.name]);
}

async fn a_failed_publish_tells_the_class_of_its_failure(broker: Broker) {
    let (recorded, name) = (Recorded::new(), broker.name("nobody"));
    let transport = recorded.transport(&broker).await;
    within(transport.producer(Exchange::default()).ensure_publish(&name, &1)).await.unwrap_err();
    let span = recorded.span(&format!("publish {name}")).await;
    assert!(span.has_failed());
    assert_eq!(span.text("error.type").as_deref(), Some("unroutable"));
}

async fn temporary_queues_are_attributes_and_not_in_names(broker: Broker) {
    let (recorded, transport) = (Recorded::new(), broker.transport().await);
    let queue = within(transport.consumer(Queue::new("").exclusive(true)).start::<u32>()).await.unwrap();
    let named = recorded.transport(&broker).await;
    within(named.producer(Exchange::default()).ensure_publish(queue.queue(), &1)).await.unwrap();
    let span = recorded.span("publish").await;
    assert_eq!(span.text("messaging.destination.name").as_deref(), Some(queue.queue()));
    assert_eq!(span.text("messaging.destination.temporary").as_deref(), Some("true"));
    assert_eq!(span.text("messaging.destination.anonymous").as_deref(), Some("true"));
}

on_every_broker!(
    a_publish_is_a_producer_span_whose_context_the_message_carries,
    a_trace_that_a_message_has_already_is_linked_and_kept,
    each_message_of_many_has_a_span_and_all_are_linked,
    a_message_of_many_that_has_a_trace_already_is_linked_alone,
    a_failed_publish_tells_the_class_of_its_failure,
    temporary_queues_are_attributes_and_not_in_names,
);

#[tokio::test]
async fn a_publish_that_is_dropped_ends_as_cancelled() {
    let (broker, recorded) = (Broker::memory(), Recorded::new());
    let transport = recorded.transport(&broker).await;
    let producer = transport.producer(Exchange::default());
    {
        // The first poll only begins to open a channel.
        let mut publishing = Box::pin(producer.ensure_publish("q", &1));
        assert!(futures_util::poll!(publishing.as_mut()).is_pending());
    }
    let span = recorded.span("publish q").await;
    assert_eq!(span.text("error.type").as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn without_a_provider_there_is_no_trace() {
    let broker = Broker::memory();
    let mut sink = Sink::bound(&broker, &Exchange::direct("x"), "k").await;
    let transport = broker.transport().await;
    within(transport.producer(Exchange::direct("x")).ensure_publish("k", &1)).await.unwrap();
    assert_eq!(TraceContext::of(&sink.properties().await), None);
}
