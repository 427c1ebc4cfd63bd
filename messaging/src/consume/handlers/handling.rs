//! The context of a handler: the span it runs in, and the trace that it continues.

#[cfg(feature = "oslo")]
use std::collections::BTreeSet;

#[cfg(feature = "oslo")]
use amqp_client::Received;
use amqp_codec::borrowed::ContentProperties;
use futures_util::future::Either;
use tracing::{Instrument as _, Span};

use crate::{
    telemetry::observer::Operation,
    trace_context::{HANDLED, TraceContext},
};

/// The most bytes of a text from a peer that go into a span.
#[cfg(any(feature = "oslo", feature = "mailbox"))]
const SHOWN: usize = 100;

/// The span of a message's handler, and the trace that the message belongs to. If the operation
/// has a span of its own, that is the trace.
pub(crate) struct Handling {
    span: Span,
    trace: Option<TraceContext>,
    operation: Operation,
}

impl Handling {
    /// Returns the context for a message from a queue.
    pub(crate) fn of_message(
        queue: &str,
        properties: Option<&ContentProperties<'_>>,
        operation: &Operation,
    ) -> Self {
        let read = || properties.and_then(TraceContext::read);
        let trace = if operation.has_span() { None } else { read() };
        let id = || properties?.message_id.and_then(|id| str::from_utf8(id).ok());
        let span = tracing::info_span!(
            "message",
            queue,
            message_id = id(),
            trace_id = trace_id(trace.as_ref(), operation)
        );
        Handling { span, trace, operation: operation.clone() }
    }

    /// Returns the context for a request for a method. The request's routing key is the name of its
    /// queue.
    #[cfg(feature = "oslo")]
    pub(crate) fn of_request(
        received: &Received,
        id: Option<&str>,
        method: Option<&str>,
        trace: Option<TraceContext>,
        operation: &Operation,
    ) -> Self {
        let trace = trace.filter(|_| !operation.has_span());
        let span = tracing::info_span!(
            "request",
            queue = &*received.routing_key(),
            message_id = id.map(shown),
            method = method.map(shown),
            trace_id = trace_id(trace.as_ref(), operation)
        );
        Handling { span, trace, operation: operation.clone() }
    }

    /// Returns the context for a notification from a queue.
    #[cfg(feature = "oslo")]
    pub(crate) fn of_notification(
        queue: &str,
        id: Option<&str>,
        trace: Option<TraceContext>,
        operation: &Operation,
    ) -> Self {
        let trace = trace.filter(|_| !operation.has_span());
        let trace_id = || trace_id(trace.as_ref(), operation);
        let span =
            tracing::info_span!("notification", queue, message_id = id.map(shown), trace_id = trace_id());
        Handling { span, trace, operation: operation.clone() }
    }

    /// Returns the context for notifications from these queues that are handled together. Each may
    /// belong to a different trace, so none is continued.
    #[cfg(feature = "oslo")]
    pub(crate) fn of_batch<'a>(
        queues: impl Iterator<Item = &'a str>,
        notifications: usize,
        operation: &Operation,
    ) -> Self {
        let span = tracing::info_span!("batch", queues = tracing::field::Empty, notifications);
        if !span.is_disabled() {
            let names: BTreeSet<_> = queues.collect();
            span.record("queues", tracing::field::debug(names));
        }
        Handling { span, trace: None, operation: operation.clone() }
    }

    /// Runs `call`, which makes the future of a handler, in the span and the trace.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        if self.is_nothing() {
            return call();
        }
        let call = || self.operation.enter(call);
        self.span.in_scope(|| HANDLED.sync_scope(self.trace.clone(), call))
    }

    /// Wraps the future of a handler so that it is polled in the span and the trace. What only
    /// traced messages need is stored apart, so that untraced futures stay small.
    pub(crate) fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        let future = self.operation.around(future);
        if self.span.is_disabled() && self.trace.is_none() {
            return Either::Left(future);
        }
        Either::Right(Box::pin(HANDLED.scope(self.trace, future).instrument(self.span)))
    }

    /// Whether there is nothing to do, because no subscriber wants the span and there is no trace
    /// to continue.
    fn is_nothing(&self) -> bool {
        self.span.is_disabled() && self.trace.is_none() && !self.operation.has_span()
    }
}

/// Returns the id of the trace.
fn trace_id(trace: Option<&TraceContext>, operation: &Operation) -> Option<String> {
    let id = |trace: &TraceContext| trace.trace_id().to_owned();
    trace.map(id).or_else(|| operation.trace().as_ref().map(id))
}

/// Returns the beginning of the text.
#[cfg(any(feature = "oslo", feature = "mailbox"))]
pub(crate) fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default()
}
