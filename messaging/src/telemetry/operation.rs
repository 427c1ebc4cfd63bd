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
        tracer::Started,
    },
    trace_context::{Mark, TraceContext},
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
    span: OwnSpan,
    /// The position in a trace at which its message was created.
    creation: Option<SpanContext>,
    begun: Instant,
    /// The number of messages that it is about.
    messages: AtomicU64,
    has_ended: AtomicBool,
}

/// The span of an operation.
enum OwnSpan {
    /// There is none, and the operation runs in this context.
    None(Context),
    /// It is recorded, and the current one of this context.
    Recording(Context),
    /// It is not recorded. Only operations in which others run have a context of it.
    Unrecorded(SpanContext, Option<Context>),
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
    pub(super) fn under(self, parent: &Context, attributes: &dyn Fn() -> Vec<KeyValue>) -> Operation {
        let Beginning { sinks, what, kind, destination, creation, since } = self;
        let span = || SpanBuilder {
            span_kind: Some(kind),
            start_time: since.map(|(time, _)| time),
            links: creation.clone().map(|creation| vec![Link::with_context(creation)]),
            ..sinks.span(what, &destination)
        };
        let details = || {
            let mut details = attributes();
            details.extend(destination.details());
            details
        };
        let span = OwnSpan::begun(sinks, what, span, parent, &details);
        let begun = since.map_or_else(Instant::now, |(_, begun)| begun);
        Operation::begun(sinks, (what, Some(destination)), span, (creation, begun))
    }

    /// Begins it without a span of its own.
    pub(super) fn without_span(self) -> Operation {
        let Beginning { sinks, what, destination, creation, .. } = self;
        let span = OwnSpan::None(Context::current());
        Operation::begun(sinks, (what, Some(destination)), span, (creation, Instant::now()))
    }
}

impl OwnSpan {
    /// Begins a span if there is a tracer.
    fn begun(
        sinks: &Sinks,
        what: What,
        span: impl FnOnce() -> SpanBuilder,
        parent: &Context,
        details: &dyn Fn() -> Vec<KeyValue>,
    ) -> Self {
        let Some(tracer) = &sinks.tracer else { return OwnSpan::None(parent.clone()) };
        if sinks.is_parent_based && is_unsampled(parent) {
            let context = what.contains_others().then(|| parent.clone());
            return OwnSpan::Unrecorded(parent.span().span_context().clone(), context);
        }
        match tracer.start(span(), parent, details) {
            Started::Recording(context) => OwnSpan::Recording(context),
            Started::Unrecorded(position) => {
                let context =
                    what.contains_others().then(|| parent.with_remote_span_context(position.clone()));
                OwnSpan::Unrecorded(position, context)
            }
        }
    }

    /// Returns what `read` returns for its position in its trace.
    fn position<R>(&self, read: impl FnOnce(&SpanContext) -> R) -> Option<R> {
        match self {
            OwnSpan::None(_) => None,
            OwnSpan::Recording(context) => Some(read(context.span().span_context())),
            OwnSpan::Unrecorded(position, _) => Some(read(position)),
        }
    }

    fn context(&self) -> Option<&Context> {
        match self {
            OwnSpan::None(context) | OwnSpan::Recording(context) => Some(context),
            OwnSpan::Unrecorded(_, context) => context.as_ref(),
        }
    }

    fn recording(&self) -> Option<&Context> {
        match self {
            OwnSpan::Recording(context) => Some(context),
            _ => None,
        }
    }
}

/// Tells whether the trace of a context is not sampled.
fn is_unsampled(context: &Context) -> bool {
    let span = context.span();
    span.span_context().is_valid() && !span.span_context().is_sampled()
}

impl Operation {
    fn begun(
        sinks: &Arc<Sinks>,
        (what, destination): (What, Option<Arc<Destination>>),
        span: OwnSpan,
        (creation, begun): (Option<SpanContext>, Instant),
    ) -> Self {
        let (sinks, messages, has_ended) = (sinks.clone(), AtomicU64::new(1), AtomicBool::new(false));
        let active = Active { sinks, what, destination, span, creation, begun, messages, has_ended };
        Operation(Some(Arc::new(active)))
    }

    /// Begins a call of RPC, or a method that runs, with this span.
    #[cfg(feature = "oslo")]
    pub(super) fn rpc(sinks: &Arc<Sinks>, span: impl FnOnce() -> SpanBuilder) -> Self {
        let span = Context::map_current(|current| OwnSpan::begun(sinks, What::Rpc, span, current, &Vec::new));
        Operation::begun(sinks, (What::Rpc, None), span, (None, Instant::now()))
    }

    /// Returns the position of its span in its trace.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.0.as_ref()?.span.position(TraceContext::of_span)?
    }

    /// Returns the same for a message.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.0.as_ref()?.span.position(Mark::of_span)?
    }

    pub(super) fn span_context(&self) -> Option<SpanContext> {
        self.0.as_ref()?.span.position(SpanContext::clone)
    }

    /// Adds a link to another span.
    pub(super) fn link(&self, other: SpanContext) {
        if let Some(recording) = self.0.as_ref().and_then(|active| active.span.recording()) {
            recording.span().add_link(other, Vec::new());
        }
    }

    /// Tells whether it has a span, so that its work belongs to that.
    pub(crate) fn has_span(&self) -> bool {
        self.0.as_ref().is_some_and(|active| !matches!(active.span, OwnSpan::None(_)))
    }

    /// Runs `call` as a part of it.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        let context = self.0.as_ref().and_then(|active| active.span.context());
        let _current = context.map(|context| context.clone().attach());
        call()
    }

    /// Wraps a future so that it runs as a part of it. What only that needs is stored apart, so
    /// that other futures stay small.
    pub(crate) fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        match self.0.as_ref().and_then(|active| active.span.context()) {
            None => Either::Left(future),
            Some(context) => Either::Right(Box::pin(future.with_context(context.clone()))),
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
        if let Some(recording) = active.span.recording() {
            let count = KeyValue::new(names::BATCH_COUNT, i64::try_from(messages).unwrap_or(i64::MAX));
            recording.span().set_attribute(count);
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
        match (active.what, &active.span) {
            // To settle a message is a part of handling it, which is not recorded.
            (What::Process, OwnSpan::Unrecorded(..)) => beginning.without_span(),
            // A handler has ended when its message is settled.
            (What::Process, OwnSpan::None(context) | OwnSpan::Recording(context)) => {
                beginning.under(context, &Vec::new)
            }
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
        if let Some(recording) = self.span.recording() {
            let span = recording.span();
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
