//! Traces that are not sampled, and samplers.

use amqp_client::Queue;
use messaging::{Exchange, Incoming, TraceContext, TransportOptions};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
use tokio::sync::mpsc;

use super::{on_every_broker, recorded::Recorded};
use crate::messaging::fixture::{Broker, within};

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn unsampled() -> TraceContext {
    TraceContext::new(UNSAMPLED).unwrap().tracestate("vendor=value")
}

async fn a_trace_that_is_not_sampled_is_carried_on_and_not_recorded(broker: Broker) {
    carried_on(&broker, "asked", false).await;
    carried_on(&broker, "known", true).await;
}

async fn carried_on(broker: &Broker, name: &str, is_parent_based: bool) {
    let (recorded, queue) = (Recorded::new(), broker.name(name));
    let (out, plain) = (format!("{queue}.out"), broker.transport().await);
    let options = TransportOptions::new().telemetry(recorded.telemetry().parent_based(is_parent_based));
    let transport = within(options.connect(&broker.url)).await.unwrap();
    let mut sink = within(plain.consumer(Queue::new(&out)).start::<u32>()).await.unwrap();
    let (told, mut current) = mpsc::unbounded_channel();
    let (producer, key) = (transport.producer(Exchange::default()), out.clone());
    let worker = transport.worker(Queue::new(&queue)).start(move |_: Incoming<u32>| {
        told.send(Context::current().span().span_context().trace_id()).unwrap();
        let (producer, key) = (producer.clone(), key.clone());
        async move { producer.ensure_publish(&key, &2).await.map(drop) }
    });
    let worker = within(worker).await.unwrap();
    let producer = transport.producer(Exchange::default());
    within(unsampled().scope(producer.ensure_publish(&queue, &1))).await.unwrap();
    assert_eq!(within(current.recv()).await.unwrap().to_string(), unsampled().trace_id());
    let delivery = within(sink.recv()).await.unwrap().unwrap();
    let carried = TraceContext::of(&delivery.properties().unwrap()).unwrap();
    assert_eq!(carried.trace_id(), unsampled().trace_id());
    assert!(carried.traceparent().ends_with("-00"), "{carried:?}");
    assert_eq!(carried, TraceContext::new(carried.traceparent()).unwrap().tracestate("vendor=value"));
    within(worker.stop()).await;
    assert_eq!(recorded.names(), [""; 0]);
}

on_every_broker!(a_trace_that_is_not_sampled_is_carried_on_and_not_recorded);

#[tokio::test]
async fn a_publish_that_the_sampler_drops_begins_a_trace_that_is_not_sampled() {
    let (broker, recorded) = (Broker::memory(), Recorded::sampling(Sampler::AlwaysOff));
    let (transport, plain) = (recorded.transport(&broker).await, broker.transport().await);
    let mut sink = within(plain.consumer(Queue::new("q")).start::<u32>()).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish("q", &1)).await.unwrap();
    let delivery = within(sink.recv()).await.unwrap().unwrap();
    let carried = TraceContext::of(&delivery.properties().unwrap()).unwrap();
    assert!(carried.traceparent().ends_with("-00"), "{carried:?}");
    assert_eq!(recorded.names(), [""; 0]);
}

/// Samples what is about one destination, whatever the parent says.
#[derive(Clone, Debug)]
struct About(&'static str);

impl ShouldSample for About {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_it = attributes
            .iter()
            .any(|one| one.key.as_str() == "messaging.destination.name" && one.value.as_str() == self.0);
        let always = Sampler::AlwaysOn.should_sample(parent, trace, name, kind, attributes, links);
        let decision = if is_it { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        SamplingResult { decision, ..always }
    }
}

#[tokio::test]
async fn a_sampler_is_asked_with_the_destination_even_in_a_trace_that_is_not_sampled() {
    let (broker, recorded) = (Broker::memory(), Recorded::sampling(About("wanted")));
    let transport = recorded.transport(&broker).await;
    let handler = |_: Incoming<u32>| async { Ok::<_, String>(()) };
    let mut workers = Vec::new();
    for queue in ["other", "wanted"] {
        workers.push(within(transport.worker(Queue::new(queue)).start(handler)).await.unwrap());
        let producer = transport.producer(Exchange::default());
        within(unsampled().scope(producer.ensure_publish(queue, &1))).await.unwrap();
    }
    for operation in ["publish", "process", "ack"] {
        let span = recorded.span(&format!("{operation} wanted")).await;
        assert_eq!(span.span_context.trace_id().to_string(), unsampled().trace_id());
    }
    for worker in workers {
        within(worker.stop()).await;
    }
    assert!(recorded.names().iter().all(|name| name.ends_with(" wanted")), "{:?}", recorded.names());
}

/// Must not be asked.
#[derive(Clone, Debug)]
struct Unasked;

impl ShouldSample for Unasked {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        name: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        panic!("the sampler is asked about {name:?}");
    }
}

#[tokio::test]
async fn a_sampler_that_obeys_the_parent_is_not_asked_in_a_trace_that_is_not_sampled() {
    let (broker, recorded) = (Broker::memory(), Recorded::sampling(Unasked));
    let options = TransportOptions::new().telemetry(recorded.telemetry().parent_based(true));
    let transport = within(options.connect(&broker.url)).await.unwrap();
    let (told, mut handled) = mpsc::unbounded_channel();
    let handler = move |_: Incoming<u32>| {
        told.send(TraceContext::current()).unwrap();
        std::future::ready(Ok::<_, String>(()))
    };
    let worker = within(transport.worker(Queue::new("q")).start(handler)).await.unwrap();
    let producer = transport.producer(Exchange::default());
    within(unsampled().scope(producer.ensure_publish("q", &1))).await.unwrap();
    assert_eq!(within(handled.recv()).await.unwrap(), Some(unsampled()));
    within(worker.stop()).await;
    assert_eq!(recorded.total("messaging.process.duration", &[]), 1.0);
    assert_eq!(recorded.names(), [""; 0]);
}
