//! The trace that a message belongs to, carried in its headers
//! (<https://www.w3.org/TR/trace-context/>).

use std::{fmt, sync::Arc};

use amqp_client::{Message, Properties};
use amqp_codec::borrowed::ContentProperties;
#[cfg(feature = "opentelemetry")]
use opentelemetry::{
    Context,
    context::FutureExt as _,
    trace::{SpanContext, TraceContextExt as _},
};

use crate::error::Error;
#[cfg(feature = "opentelemetry")]
use crate::w3c;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// A position in a trace: the content of `traceparent` and `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: String,
    tracestate: Option<String>,
}

impl TraceContext {
    /// Parses a `traceparent`, `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`; returns
    /// `None` when it is invalid.
    #[must_use]
    pub fn new(traceparent: &str) -> Option<Self> {
        is_valid(traceparent).then(|| TraceContext { traceparent: traceparent.to_owned(), tracestate: None })
    }

    /// Sets the `tracestate`.
    #[must_use]
    pub fn tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.tracestate = Some(tracestate.into());
        self
    }

    /// Returns the `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Returns the id of the whole trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.traceparent.get(3..35).unwrap_or_default()
    }

    /// Returns the trace of the message whose handler is running. What a handler publishes, calls
    /// and notifies carries it on, unless
    /// [`TransportOptions::trace_context`](crate::TransportOptions::trace_context) gives another.
    /// It is `None` outside of handlers, and in the tasks that a handler spawns, to which
    /// [`scope`](Self::scope) passes it on.
    #[must_use]
    pub fn current() -> Option<Self> {
        HANDLED.try_with(Option::clone).ok().flatten().or_else(Self::of_current_span)
    }

    /// Makes it the [`current`](Self::current) trace while `future` runs.
    ///
    /// ```
    /// # async fn example(transport: messaging::Transport) {
    /// use messaging::TraceContext;
    ///
    /// let producer = transport.producer(messaging::Exchange::default());
    /// let audit = async move { producer.ensure_publish("audit", "seen").await };
    /// match TraceContext::current() {
    ///     Some(trace) => drop(tokio::spawn(trace.scope(audit))),
    ///     None => drop(tokio::spawn(audit)),
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As that of `future`.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        #[cfg(feature = "opentelemetry")]
        let future = future.with_context(self.as_remote());
        HANDLED.scope(Some(self), future).await
    }

    /// Reads the trace of a message without decoding its other properties.
    pub(crate) fn read(properties: &ContentProperties<'_>) -> Option<Self> {
        let mut context = TraceContext::new(properties.header_text(TRACEPARENT)?)?;
        context.tracestate = properties.header_text(TRACESTATE).map(str::to_owned);
        Some(context)
    }

    /// Returns the trace of a message; `None` when it has none, or one that is invalid.
    #[must_use]
    pub fn of(properties: &Properties) -> Option<Self> {
        let headers = properties.headers.as_ref()?;
        let mut context = TraceContext::new(headers.get(TRACEPARENT)?.as_str()?)?;
        context.tracestate = headers.get(TRACESTATE).and_then(|value| value.as_str().map(str::to_owned));
        Some(context)
    }
}

#[cfg(not(feature = "opentelemetry"))]
fn has_current_span() -> bool {
    false
}

#[cfg(feature = "opentelemetry")]
fn has_current_span() -> bool {
    Context::map_current(Context::has_active_span)
}

#[cfg(not(feature = "opentelemetry"))]
impl TraceContext {
    fn of_current_span() -> Option<Self> {
        None
    }
}

/// Spans of OpenTelemetry, and positions in a trace.
#[cfg(feature = "opentelemetry")]
impl TraceContext {
    /// Returns the position of the current span.
    fn of_current_span() -> Option<Self> {
        Context::map_current(|current| TraceContext::of_span(current.span().span_context()))
    }

    /// Returns a span's position; `None` when it has none.
    pub(crate) fn of_span(span: &SpanContext) -> Option<Self> {
        let written = span.is_valid().then(|| w3c::written(span))?;
        Some(TraceContext { traceparent: written.traceparent().to_owned(), tracestate: written.tracestate })
    }

    pub(crate) fn span_context(&self) -> Option<SpanContext> {
        w3c::parse(&self.traceparent, self.tracestate.as_deref())
    }

    /// Reads the trace of a message as a span.
    pub(crate) fn read_span(properties: &ContentProperties<'_>) -> Option<SpanContext> {
        w3c::parse(properties.header_text(TRACEPARENT)?, properties.header_text(TRACESTATE))
    }

    /// Returns the current context with this as its span.
    fn as_remote(&self) -> Context {
        let current = Context::current();
        match self.span_context() {
            Some(span) => current.with_remote_span_context(span),
            None => current,
        }
    }
}

tokio::task_local! {
    /// The trace of the message that is being handled.
    pub(crate) static HANDLED: Option<TraceContext>;
}

/// The source of the current trace context.
#[derive(Clone)]
pub(crate) struct TraceSource(Arc<dyn Fn() -> Option<TraceContext> + Send + Sync>);

impl TraceSource {
    pub(crate) fn new(current: impl Fn() -> Option<TraceContext> + Send + Sync + 'static) -> Self {
        TraceSource(Arc::new(current))
    }

    pub(crate) fn current(&self) -> Option<TraceContext> {
        (self.0)()
    }
}

/// Tells whether there may be a trace for messages that have none.
pub(crate) fn is_handling() -> bool {
    HANDLED.try_with(Option::is_some).unwrap_or(false) || has_current_span()
}

/// Tells whether a message has a trace of its own, or is passed on unchanged and so keeps what it
/// has.
pub(crate) fn is_marked(message: &Message) -> bool {
    let carries = |headers: &amqp_client::Table| headers.contains_key(TRACEPARENT);
    message.encoded_properties().is_some() || message.properties().headers.as_ref().is_some_and(carries)
}

/// Returns the trace that a message has.
pub(crate) fn carried(message: &Message) -> Option<TraceContext> {
    match message.encoded_properties() {
        Some(encoded) => TraceContext::read(&ContentProperties::decode(encoded.as_encoded()).ok()?),
        None => TraceContext::of(message.properties()),
    }
}

/// A trace that a message is to have.
pub(crate) enum Mark {
    Text(TraceContext),
    #[cfg(feature = "opentelemetry")]
    Span(w3c::Written),
}

impl Mark {
    /// Returns the current trace: that of the message being handled, or of the current span.
    pub(crate) fn current() -> Option<Self> {
        TraceContext::current().map(Mark::Text)
    }

    /// Returns a span's position; `None` when it has none.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn of_span(span: &SpanContext) -> Option<Self> {
        span.is_valid().then(|| Mark::Span(w3c::written(span)))
    }

    /// Inserts it into the headers of a message.
    pub(crate) fn put_on(&self, message: &mut Message) -> Result<(), Error> {
        let (traceparent, tracestate) = match self {
            Mark::Text(TraceContext { traceparent, tracestate }) => (&**traceparent, tracestate.as_deref()),
            #[cfg(feature = "opentelemetry")]
            Mark::Span(written) => (written.traceparent(), written.tracestate.as_deref()),
        };
        let headers = message.properties_mut().headers.get_or_insert_default();
        let state = tracestate.map(|state| (TRACESTATE, state));
        for (key, value) in [(TRACEPARENT, traceparent)].into_iter().chain(state) {
            let inserted = headers.insert_text(key, value).map_err(amqp_client::Error::Invalid);
            inserted.map_err(Error::broker(format_args!("set the header {key:?}")))?;
        }
        Ok(())
    }
}

/// Tells whether a `traceparent` has the right form.
fn is_valid(traceparent: &str) -> bool {
    let mut parts = traceparent.split('-');
    let fits = [2, 32, 16, 2].into_iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == length
                && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    });
    // Later versions may have more parts; `ff` is invalid.
    let version = traceparent.get(..2).unwrap_or_default();
    fits && version != "ff" && (version != "00" || parts.next().is_none())
}

impl fmt::Debug for TraceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceSource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_no_traceparent_is_refused() {
        assert!(TraceContext::new(PARENT).is_some());
        assert!(TraceContext::new("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert!(TraceContext::new(text).is_none(), "{text}");
        }
    }
}
