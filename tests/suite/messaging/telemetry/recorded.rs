//! The spans and metrics of a transport, as an exporter in memory keeps them.

use messaging::{Telemetry, Transport, TransportOptions};
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics},
    },
    trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, ShouldSample, SpanData},
};

use super::super::fixture::{Broker, within};

/// Providers of OpenTelemetry that keep everything.
pub(super) struct Recorded {
    spans: InMemorySpanExporter,
    tracers: SdkTracerProvider,
    metrics: InMemoryMetricExporter,
    meters: SdkMeterProvider,
}

impl Recorded {
    pub(super) fn new() -> Self {
        Recorded::sampling(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    /// Keeps the spans that a sampler wants.
    pub(super) fn sampling(sampler: impl ShouldSample + 'static) -> Self {
        let (spans, metrics) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
        let tracers = SdkTracerProvider::builder().with_sampler(sampler);
        let tracers = tracers.with_simple_exporter(spans.clone()).build();
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        Recorded { spans, tracers, metrics, meters }
    }

    pub(super) fn telemetry(&self) -> Telemetry {
        Telemetry::new().tracer_provider(&self.tracers).meter_provider(&self.meters)
    }

    pub(super) fn options(&self) -> TransportOptions {
        TransportOptions::new().telemetry(self.telemetry())
    }

    pub(super) async fn transport(&self, broker: &Broker) -> Transport {
        within(self.options().connect(&broker.url)).await.unwrap()
    }

    /// A span of the test's own, as the current one of a context.
    pub(super) fn own(&self, name: &'static str) -> Context {
        Context::new().with_span(self.tracers.tracer("test").start_with_context(name, &Context::new()))
    }

    /// The spans that have ended, in the order of their ends.
    pub(super) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Waits until a span of this name has ended, and returns it; it must be the only one.
    pub(super) async fn span(&self, name: &str) -> SpanData {
        let mut spans = self.some(1, name).await;
        assert_eq!(spans.len(), 1, "{name}");
        spans.remove(0)
    }

    /// Waits until so many spans of this name have ended.
    pub(super) async fn some(&self, count: usize, name: &str) -> Vec<SpanData> {
        let waiting = async {
            loop {
                let mut spans = self.spans();
                spans.retain(|span| span.name == name);
                if spans.len() >= count {
                    return spans;
                }
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(super::super::fixture::DEADLINE, waiting).await;
        waited.unwrap_or_else(|_| panic!("there is no {name:?} among {:?}", self.names()))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.spans().iter().map(|span| span.name.to_string()).collect()
    }

    /// The points of a metric, each with its attributes: the sum of a counter, the count of a
    /// histogram.
    pub(super) fn metric(&self, name: &str) -> Vec<(f64, Vec<KeyValue>)> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let collected = self.metrics.get_finished_metrics().unwrap();
        let metrics = collected.iter().flat_map(ResourceMetrics::scope_metrics);
        let metrics = metrics.flat_map(ScopeMetrics::metrics);
        metrics.filter(|metric| metric.name() == name).flat_map(points).collect()
    }

    /// The points of a metric that have all of these attributes, added up.
    pub(super) fn total(&self, name: &str, attributes: &[(&str, &str)]) -> f64 {
        let has = |all: &[KeyValue], (key, value): &(&str, &str)| {
            all.iter().any(|one| one.key.as_str() == *key && one.value.as_str() == *value)
        };
        let points = self.metric(name).into_iter();
        points.filter(|(_, all)| attributes.iter().all(|one| has(all, one))).map(|(value, _)| value).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "the counts are small")]
fn points(metric: &Metric) -> Vec<(f64, Vec<KeyValue>)> {
    let attributes =
        |attributes: &mut dyn Iterator<Item = &KeyValue>| attributes.cloned().collect::<Vec<_>>();
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|point| (point.value() as f64, attributes(&mut point.attributes())))
            .collect(),
        AggregatedMetrics::I64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|point| (point.value() as f64, attributes(&mut point.attributes())))
            .collect(),
        AggregatedMetrics::F64(MetricData::Sum(sum)) => {
            sum.data_points().map(|point| (point.value(), attributes(&mut point.attributes()))).collect()
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
            .data_points()
            .map(|point| (point.count() as f64, attributes(&mut point.attributes())))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The parts of a span that tests look at.
pub(super) trait Shown {
    /// The attribute of this name, as text.
    fn text(&self, name: &str) -> Option<String>;
    fn is_child_of(&self, parent: &SpanContext) -> bool;
    fn links_to(&self, other: &SpanContext) -> bool;
    fn kind(&self) -> SpanKind;
    fn has_failed(&self) -> bool;
}

impl Shown for SpanData {
    fn text(&self, name: &str) -> Option<String> {
        let attribute = self.attributes.iter().find(|attribute| attribute.key.as_str() == name)?;
        Some(match &attribute.value {
            Value::String(text) => text.to_string(),
            other => other.to_string(),
        })
    }

    fn is_child_of(&self, parent: &SpanContext) -> bool {
        self.parent_span_id == parent.span_id() && self.span_context.trace_id() == parent.trace_id()
    }

    fn links_to(&self, other: &SpanContext) -> bool {
        self.links.links.iter().any(|link| {
            link.span_context.span_id() == other.span_id() && link.span_context.trace_id() == other.trace_id()
        })
    }

    fn kind(&self) -> SpanKind {
        self.span_kind.clone()
    }

    fn has_failed(&self) -> bool {
        matches!(self.status, Status::Error { .. })
    }
}
