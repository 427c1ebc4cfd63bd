//! What surrounds a handler: the span it runs in, and the trace that goes on through it.

#[cfg(feature = "oslo")]
use std::collections::BTreeSet;

#[cfg(feature = "oslo")]
use amqp_client::Received;
use amqp_codec::borrowed::ContentProperties;
use futures_util::future::Either;
use tracing::{Instrument as _, Span};

use crate::trace_context::{HANDLED, TraceContext};

/// Text of a peer's that goes into a span, in bytes.
#[cfg(feature = "oslo")]
const SHOWN: usize = 100;

/// The span of a message's handler, and the trace that the message belongs to.
pub(crate) struct Handling {
    span: Span,
    trace: Option<TraceContext>,
}

impl Handling {
    /// Of a message in a queue.
    pub(crate) fn of_message(queue: &str, properties: Option<&ContentProperties<'_>>) -> Self {
        let trace = properties.and_then(TraceContext::read);
        let id = || properties?.message_id.and_then(|id| str::from_utf8(id).ok());
        let span = tracing::info_span!(
            "message",
            queue,
            message_id = id(),
            trace_id = trace.as_ref().map(TraceContext::trace_id)
        );
        Handling { span, trace }
    }

    /// Of a request for a method. Its queue has the name of the key that it came with.
    #[cfg(feature = "oslo")]
    pub(crate) fn of_request(
        received: &Received,
        id: Option<&str>,
        method: Option<&str>,
        trace: Option<TraceContext>,
    ) -> Self {
        let span = tracing::info_span!(
            "request",
            queue = &*received.routing_key(),
            message_id = id.map(shown),
            method = method.map(shown),
            trace_id = trace.as_ref().map(TraceContext::trace_id)
        );
        Handling { span, trace }
    }

    /// Of a notification in a queue.
    #[cfg(feature = "oslo")]
    pub(crate) fn of_notification(queue: &str, id: Option<&str>, trace: Option<TraceContext>) -> Self {
        let trace_id = trace.as_ref().map(TraceContext::trace_id);
        let span = tracing::info_span!("notification", queue, message_id = id.map(shown), trace_id);
        Handling { span, trace }
    }

    /// Of notifications in these queues that are handled together. Each may have a trace, so that
    /// none goes on.
    #[cfg(feature = "oslo")]
    pub(crate) fn of_batch<'a>(queues: impl Iterator<Item = &'a str>, notifications: usize) -> Self {
        let span = tracing::info_span!("batch", queues = tracing::field::Empty, notifications);
        if !span.is_disabled() {
            let names: BTreeSet<_> = queues.collect();
            span.record("queues", tracing::field::debug(names));
        }
        Handling { span, trace: None }
    }

    /// Calls what makes the future of a handler.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        if self.is_nothing() {
            return call();
        }
        self.span.in_scope(|| HANDLED.sync_scope(self.trace.clone(), call))
    }

    /// Polls the future of a handler. What only traced messages need is not moved about with all.
    pub(crate) fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        if self.is_nothing() {
            return Either::Left(future);
        }
        Either::Right(Box::pin(HANDLED.scope(self.trace, future).instrument(self.span)))
    }

    /// Tells whether nobody looks at the span, and no trace goes on: nothing is done then.
    fn is_nothing(&self) -> bool {
        self.span.is_disabled() && self.trace.is_none()
    }
}

/// The beginning of it.
#[cfg(feature = "oslo")]
pub(crate) fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default()
}
