//! An operation under way: its span, and what its metrics need.

use std::{
    fmt,
    sync::Arc,
    time::{Instant, SystemTime},
};

use futures_util::future::Either;
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    trace::{Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _},
};

use crate::{
    error::Error,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    telemetry::{
        destination::Destination,
        error_type::{CANCELLED, NOT_SENT, error_type},
        names,
        sinks::{Sinks, What, text},
    },
    trace_context::TraceContext,
};

/// An operation under way, if somebody observes it. Cloning gives another handle to it.
///
/// # On drop
/// With the last handle it ends as cancelled, if it has not ended before.
#[derive(Clone, Default)]
pub(crate) struct Operation(Option<Arc<Active>>);

struct Active {
    sinks: Arc<Sinks>,
    what: What,
    /// The destination that it is performed on; a call of RPC has none.
    destination: Option<Arc<Destination>>,
    /// The context in which it runs, with its own span if that exists.
    context: Context,
    has_span: bool,
    /// The position in a trace at which its message was created.
    creation: Option<SpanContext>,
    begun: Instant,
    /// The number of messages that it is about.
    messages: AtomicU64,
    has_ended: AtomicBool,
}

/// The beginning of an operation.
pub(super) struct Beginning<'a> {
    pub(super) sinks: &'a Arc<Sinks>,
    pub(super) what: What,
    pub(super) kind: SpanKind,
    pub(super) destination: Arc<Destination>,
    pub(super) creation: Option<SpanContext>,
    /// When it has begun, if not now.
    pub(super) since: Option<(SystemTime, Instant)>,
}

impl Beginning<'_> {
    /// Begins the operation with a span under this parent, which links the creation of its message.
    pub(super) fn under(self, parent: &Context, details: &dyn Fn() -> Vec<KeyValue>) -> Operation {
        let Beginning { sinks, what, kind, destination, creation, since } = self;
        let span = || SpanBuilder {
            span_kind: Some(kind),
            start_time: since.map(|(time, _)| time),
            links: creation.clone().map(|creation| vec![Link::with_context(creation)]),
            ..sinks.span(what, &destination)
        };
        let details = || destination.details().chain(details()).collect();
        let context = sinks.start(span, parent, &details);
        let begun = since.map_or_else(Instant::now, |(_, begun)| begun);
        Operation::begun(sinks, (what, Some(destination)), context, (creation, begun, sinks.tracer.is_some()))
    }

    /// Begins it without a span of its own.
    pub(super) fn without_span(self) -> Operation {
        let Beginning { sinks, what, destination, creation, .. } = self;
        let context = Context::current();
        Operation::begun(sinks, (what, Some(destination)), context, (creation, Instant::now(), false))
    }
}

impl Operation {
    fn begun(
        sinks: &Arc<Sinks>,
        (what, destination): (What, Option<Arc<Destination>>),
        context: Context,
        (creation, begun, has_span): (Option<SpanContext>, Instant, bool),
    ) -> Self {
        let (sinks, messages, has_ended) = (sinks.clone(), AtomicU64::new(1), AtomicBool::new(false));
        let active =
            Active { sinks, what, destination, context, has_span, creation, begun, messages, has_ended };
        Operation(Some(Arc::new(active)))
    }

    /// Begins a call of RPC, or a method that runs, with this span.
    #[cfg(feature = "oslo")]
    pub(super) fn rpc(sinks: &Arc<Sinks>, span: impl FnOnce() -> SpanBuilder) -> Self {
        let context = Context::map_current(|current| sinks.start(span, current, &Vec::new));
        Operation::begun(sinks, (What::Rpc, None), context, (None, Instant::now(), sinks.tracer.is_some()))
    }

    /// Returns the position of its span in its trace.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        let active = self.0.as_ref().filter(|active| active.has_span)?;
        TraceContext::of_span(active.context.span().span_context())
    }

    pub(super) fn span_context(&self) -> Option<SpanContext> {
        let active = self.0.as_ref().filter(|active| active.has_span)?;
        Some(active.context.span().span_context().clone())
    }

    /// Adds a link to another span.
    pub(super) fn link(&self, other: SpanContext) {
        if let Some(active) = self.0.as_ref().filter(|active| active.has_span) {
            active.context.span().add_link(other, Vec::new());
        }
    }

    /// Tells whether it has a span, so that its work belongs to that.
    pub(crate) fn has_span(&self) -> bool {
        self.0.as_ref().is_some_and(|active| active.has_span)
    }

    /// Runs `call` as a part of it.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        let _current = self.0.as_ref().map(|active| active.context.clone().attach());
        call()
    }

    /// Wraps a future so that it runs as a part of it. What only that needs is stored apart, so
    /// that other futures stay small.
    pub(crate) fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            None => Either::Left(future),
            Some(active) => Either::Right(Box::pin(future.with_context(active.context.clone()))),
        }
    }

    /// Ends it.
    pub(crate) fn end(&self, result: Result<(), &Error>) {
        if let Some(active) = &self.0 {
            active.end(result.err().map(error_type));
        }
    }

    /// Ends it with a failure of this class, or as a success.
    pub(crate) fn end_as(&self, failure: Option<&str>) {
        if let Some(active) = &self.0 {
            active.end(failure);
        }
    }

    /// Notes how many messages it was about.
    pub(crate) fn counted(&self, messages: u64) {
        let Some(active) = &self.0 else { return };
        active.messages.store(messages, Relaxed);
        if active.has_span {
            let count = KeyValue::new(names::BATCH_COUNT, i64::try_from(messages).unwrap_or(i64::MAX));
            active.context.span().set_attribute(count);
        }
    }

    /// Forgets how it ends: nobody is told.
    #[cfg(feature = "oslo")]
    pub(crate) fn ignored(self) -> Self {
        if let Some(active) = &self.0 {
            active.has_ended.store(true, Relaxed);
        }
        self
    }

    /// Begins to settle the message that it is about.
    pub(crate) fn settle(&self, how: &'static str) -> Operation {
        let Some(active) = &self.0 else { return Operation::default() };
        let Some(destination) = active.destination.clone() else { return Operation::default() };
        let (creation, what) = (active.creation.clone(), What::Settle(how));
        let beginning = Beginning {
            sinks: &active.sinks,
            what,
            kind: SpanKind::Client,
            destination,
            creation,
            since: None,
        };
        // A handler has ended when its message is settled.
        match active.what {
            What::Process => beginning.under(&active.context, &Vec::new),
            _ => Context::map_current(|current| beginning.under(current, &Vec::new)),
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("has_span", &self.has_span()).finish()
    }
}

impl Active {
    fn end(&self, failure: Option<&str>) {
        if self.has_ended.swap(true, Relaxed) {
            return;
        }
        if let Some(destination) = &self.destination {
            self.count(destination, failure);
        }
        if self.has_span {
            let span = self.context.span();
            if let Some(failure) = failure {
                span.set_attribute(text(names::ERROR_TYPE, failure.to_owned()));
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }

    fn count(&self, destination: &Destination, failure: Option<&str>) {
        let instruments = &self.sinks.instruments;
        if self.what == What::Batch {
            return;
        }
        let duration = self.begun.elapsed().as_secs_f64();
        self.sinks.measure(self.what, destination, failure, |attributes| {
            match self.what {
                What::Process => instruments.process_duration.record(duration, attributes),
                _ => instruments.operation_duration.record(duration, attributes),
            }
            match self.what {
                What::Publish | What::Create if failure != Some(NOT_SENT) => {
                    instruments.sent.add(1, attributes);
                }
                What::Process | What::Receive => {
                    instruments.consumed.add(self.messages.load(Relaxed), attributes);
                }
                _ => {}
            }
        });
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.end(Some(CANCELLED));
    }
}
