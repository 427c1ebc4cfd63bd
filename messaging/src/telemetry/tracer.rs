//! The tracer of any provider.

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanBuilder, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, Tracer},
};

/// Begins spans.
pub(super) trait Start: Send + Sync {
    /// Begins a span, and returns the parent's context with it. `details` are for spans that are
    /// recorded.
    fn start(&self, span: SpanBuilder, parent: &Context, details: &dyn Fn() -> Vec<KeyValue>) -> Context;
}

impl<T, S> Start for T
where
    T: Tracer<Span = S> + Send + Sync,
    S: Span + Send + Sync + 'static,
{
    fn start(&self, span: SpanBuilder, parent: &Context, details: &dyn Fn() -> Vec<KeyValue>) -> Context {
        let mut span = self.build_with_context(span, parent);
        if span.is_recording() {
            span.set_attributes(details());
            return parent.with_span(span);
        }
        // Its position is all that is needed of it.
        parent.with_remote_span_context(span.span_context().clone())
    }
}

/// Tells whether the tracer does nothing, as that of the global provider does until a program has
/// set one. Such a tracer hands the parent on as its span, while one that works obeys the
/// suppression.
pub(super) fn is_noop(tracer: &dyn Start) -> bool {
    let probe = SpanId::from(1);
    let parent = SpanContext::new(TraceId::from(1), probe, TraceFlags::NOT_SAMPLED, true, <_>::default());
    let parent = Context::new().with_remote_span_context(parent).with_telemetry_suppressed();
    let started = tracer.start(SpanBuilder::from_name("probe"), &parent, &Vec::new);
    started.span().span_context().span_id() == probe
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TracerProvider as _, noop::NoopTracerProvider};

    use super::*;

    #[test]
    fn a_tracer_that_does_nothing_is_recognised() {
        assert!(is_noop(&NoopTracerProvider::new().tracer("")));
    }
}
