//! The costs of telemetry, printed in nanoseconds a message. It is no check, because times vary:
//!
//! `cargo test -p messaging --release --no-default-features --features memory,opentelemetry --lib
//! telemetry::costs -- --ignored --nocapture`

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used)]

use std::{hint::black_box, time::Instant};

use amqp_client::{Delivery, Exchange, Message, Queue};
use opentelemetry::{
    Context,
    metrics::noop::NoopMeterProvider,
    trace::{TraceContextExt as _, noop::NoopTracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};

use crate::{
    publish::traced::Tracing,
    serialize::Serializers,
    telemetry::{observer::Observer, providers::Telemetry},
    trace_context::{TraceContext, TraceSource, mark},
    transport::Transport,
};

const ROUNDS: usize = 15;
const MESSAGES: u32 = 20_000;
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

/// Takes spans and does nothing with them.
#[derive(Debug)]
struct Nothing;

impl SpanExporter for Nothing {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        black_box(batch);
        Ok(())
    }
}

/// Returns the median of some rounds of each job, which take turns, in nanoseconds a message.
fn measure(jobs: &mut [(&str, &mut dyn FnMut())]) {
    let mut times = vec![Vec::new(); jobs.len()];
    for _ in 0..ROUNDS {
        for ((_, job), times) in jobs.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            (0..MESSAGES).for_each(|_| job());
            times.push(begun.elapsed().as_nanos() / u128::from(MESSAGES));
        }
    }
    for ((name, _), mut times) in jobs.iter().zip(times) {
        times.sort_unstable();
        eprintln!("{name:<60} {:>5} ns", times[ROUNDS / 2]);
    }
}

/// Returns an observer of spans alone.
fn traced(provider: &SdkTracerProvider) -> Observer {
    let telemetry = Telemetry::new().tracer_provider(provider).meter_provider(&NoopMeterProvider::new());
    Observer::new(Some(telemetry), None)
}

fn parent(flag: u8) -> Context {
    let parent = TraceContext::new(&format!("{PARENT}{flag}")).unwrap();
    Context::new().with_remote_span_context(parent.span_context().unwrap())
}

#[test]
#[ignore = "prints times"]
fn of_publishing() {
    let provider = SdkTracerProvider::builder().with_simple_exporter(Nothing).build();
    let message = Message::new("{}").content_type("application/json").persistent();
    let off = Tracing::new(None, &Observer::default(), "jobs");
    let none = Observer::new(None, None);
    let noop = Telemetry::new().tracer_provider(&NoopTracerProvider::new());
    let noop = Observer::new(Some(noop.meter_provider(&NoopMeterProvider::new())), None);
    let (none, noop) = (Tracing::new(None, &none, "jobs"), Tracing::new(None, &noop, "jobs"));
    let on = Tracing::new(None, &traced(&provider), "jobs");
    let publish = |tracing: &Tracing| {
        let traced = tracing.publish("image.resize", black_box(&message)).unwrap();
        traced.operation.end(Ok(()));
        black_box(traced.marked);
    };
    let given = TraceContext::new(&format!("{PARENT}0")).unwrap();
    let source = TraceSource::new(move || Some(given.clone()));
    let (unsampled, sampled) = (parent(0), parent(1));
    measure(&mut [
        ("publish: as without the feature", &mut || {
            black_box(mark(None, black_box(&message)).unwrap());
        }),
        ("publish: no provider", &mut || publish(&none)),
        ("publish: telemetry off", &mut || publish(&off)),
        ("publish: a provider that does nothing", &mut || publish(&noop)),
        ("publish: headers by hand", &mut || {
            black_box(mark(Some(&source), black_box(&message)).unwrap());
        }),
        ("publish: not sampled, with headers", &mut || {
            let _current = unsampled.clone().attach();
            publish(&on);
        }),
        ("publish: sampled, with headers, an exporter that does nothing", &mut || {
            let _current = sampled.clone().attach();
            publish(&on);
        }),
    ]);
}

#[tokio::test]
#[ignore = "prints times"]
async fn of_consuming() {
    let provider = SdkTracerProvider::builder().with_simple_exporter(Nothing).build();
    let queue = Queue::new("costs");
    let (none, on) = (Observer::new(None, None).queue(&queue), traced(&provider).queue(&queue));
    let bare = delivery(None).await.split().0;
    let unsampled = delivery(Some(0)).await.split().0;
    let sampled = delivery(Some(1)).await.split().0;
    let handle = |observed: &crate::telemetry::observer::ObservedQueue, received: &amqp_client::Received| {
        let operation = observed.process(black_box(received));
        operation.end_as(None);
        operation.settle("ack").end_as(None);
    };
    measure(&mut [
        ("process and ack: no provider", &mut || handle(&none, &bare)),
        ("reading the trace of a message, as without the feature", &mut || {
            let properties = unsampled.content_properties().unwrap();
            black_box(TraceContext::read(&properties));
        }),
        ("process and ack: not sampled, with headers", &mut || handle(&on, &unsampled)),
        ("process alone: not sampled, with headers", &mut || {
            on.process(black_box(&unsampled)).end_as(None);
        }),
        ("process and ack: sampled, an exporter that does nothing", &mut || handle(&on, &sampled)),
    ]);
}

/// Returns a message from a queue, with such a trace.
async fn delivery(flag: Option<u8>) -> Delivery {
    let transport = Transport::on(&amqp_broker::Broker::builder().build());
    let subscription = transport.subscription(Queue::new("costs"));
    let mut raw = subscription.start_raw().await.unwrap();
    let options = crate::PublishOptions::new();
    let options = match flag {
        Some(flag) => options.header("traceparent", format!("{PARENT}{flag}")).unwrap(),
        None => options,
    };
    let message = options.message(&1, &Serializers::new()).unwrap();
    transport.producer(Exchange::default()).publish_raw("costs", &message, None).await.unwrap();
    raw.recv().await.unwrap()
}
