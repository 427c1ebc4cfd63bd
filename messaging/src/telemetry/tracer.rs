//! The tracer of any provider.

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanBuilder, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, Tracer},
};

/// Begins spans.
pub(super) trait Start: Send + Sync {
    /// Begins a span. `details` are attributes for one that is recorded.
    fn start(&self, span: SpanBuilder, parent: &Context, details: &dyn Fn() -> Vec<KeyValue>) -> Started;
}

/// A span that has begun.
pub(super) enum Started {
    /// It is recorded, and the current one of this context.
    Recording(Context),
    /// It is not recorded: its position in the trace is all that is needed of it.
    Unrecorded(SpanContext),
}

impl<T, S> Start for T
where
    T: Tracer<Span = S> + Send + Sync,
    S: Span + Send + Sync + 'static,
{
    fn start(&self, span: SpanBuilder, parent: &Context, details: &dyn Fn() -> Vec<KeyValue>) -> Started {
        let mut span = self.build_with_context(span, parent);
        if !span.is_recording() {
            return Started::Unrecorded(span.span_context().clone());
        }
        span.set_attributes(details());
        Started::Recording(parent.with_span(span))
    }
}

/// Tells whether the tracer does nothing, as that of the global provider does until a program has
/// set one. Such a tracer hands the parent on as its span, while one that works obeys the
/// suppression.
pub(super) fn is_noop(tracer: &dyn Start) -> bool {
    let probe = SpanId::from(1);
    let parent = SpanContext::new(TraceId::from(1), probe, TraceFlags::NOT_SAMPLED, true, <_>::default());
    let parent = Context::new().with_remote_span_context(parent).with_telemetry_suppressed();
    match tracer.start(SpanBuilder::from_name("probe"), &parent, &Vec::new) {
        Started::Unrecorded(position) => position.span_id() == probe,
        Started::Recording(_) => false,
    }
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
