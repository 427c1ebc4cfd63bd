//! The providers that a user chooses.

use std::{fmt, sync::Arc};

use opentelemetry::{
    InstrumentationScope, global,
    metrics::{Meter, MeterProvider},
    trace::{Span, Tracer, TracerProvider},
};

use crate::telemetry::{
    instruments::Instruments,
    sinks::{Server, Sinks},
    tracer::{Start, is_noop},
};

/// The schema of the names that are used.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The settings of spans and metrics: which providers of OpenTelemetry get them.
/// [`TransportOptions::telemetry`](crate::TransportOptions::telemetry) takes them.
///
/// The spans are those of OpenTelemetry's conventions for RabbitMQ:
///
/// | span | kind | of |
/// |---|---|---|
/// | `publish DESTINATION` | producer; client if the message has a trace already, which is linked | [`Producer`](crate::Producer), notifiers, requests and replies of RPC |
/// | `create DESTINATION` | producer | each message of [`publish_all`](crate::Producer::publish_all); its `publish` is a client span that links them |
/// | `receive DESTINATION` | client | each message taken from a [`Consumer`](crate::Consumer) or a [`SimpleQueue`](crate::SimpleQueue) |
/// | `process DESTINATION` | consumer | each message that a worker, server or listener handles |
/// | `ack`, `nack`, `reject DESTINATION` | client | each message that is settled |
/// | `METHOD` | client, server | each call, cast and fanout, and each method that runs |
///
/// A destination is `EXCHANGE:ROUTING_KEY`, and `EXCHANGE:ROUTING_KEY:QUEUE` for a consumer,
/// without what is empty. Names of spans leave out temporary queues: those of one connection, those
/// that the broker named, and names with a UUID.
///
/// The metrics are `messaging.client.operation.duration`, `messaging.process.duration`,
/// `messaging.client.sent.messages`, `messaging.client.consumed.messages`,
/// `amqp.client.connections`, `amqp.client.reconnects` and `amqp.client.blocked.time`. Their
/// `messaging.destination.name` is the queue, or the exchange that was published to; routing keys
/// would be too many.
///
/// A failure has an `error.type`: `not_sent`, `rejected`, `unroutable` or `unconfirmed` for a
/// publish; `handler_failed`, `handler_panicked` or `undecodable` for a handler; the class of the
/// failure for a method that runs; `remote_error`, `no_such_method` or `unsupported_version` for a
/// call; `cancelled` for what was dropped before its end; and `broker`, `closed`, `connect`,
/// `encode` or `timeout`.
///
/// ```
/// use messaging::{Telemetry, TransportOptions};
/// use opentelemetry::{metrics::noop::NoopMeterProvider, trace::noop::NoopTracerProvider};
///
/// # async fn example() -> Result<(), messaging::Error> {
/// let telemetry = Telemetry::new()
///     .tracer_provider(&NoopTracerProvider::new())
///     .meter_provider(&NoopMeterProvider::new());
/// let options = TransportOptions::new().telemetry(telemetry);
/// let transport = options.connect("memory://telemetry").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Telemetry {
    tracer: Option<Arc<dyn Start>>,
    meter: Option<Meter>,
    continues: bool,
    is_parent_based: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { tracer: None, meter: None, continues: true, is_parent_based: false }
    }
}

impl Telemetry {
    /// Returns settings for the global providers. They are looked up when a transport is made, so a
    /// program sets them before.
    #[must_use]
    pub fn new() -> Self {
        Telemetry::default()
    }

    /// Sets the provider of tracers. Default: the global one.
    #[must_use]
    pub fn tracer_provider<P, S>(mut self, provider: &P) -> Self
    where
        P: TracerProvider<Tracer: Tracer<Span = S> + Send + Sync + 'static>,
        S: Span + Send + Sync + 'static,
    {
        self.tracer = Some(Arc::new(provider.tracer_with_scope(scope())));
        self
    }

    /// Sets the provider of meters. Default: the global one.
    #[must_use]
    pub fn meter_provider(mut self, provider: &dyn MeterProvider) -> Self {
        self.meter = Some(provider.meter_with_scope(scope()));
        self
    }

    /// Sets whether the span of a handler continues the trace of its message, as the child of the
    /// span that published it. Otherwise it begins a trace of its own. It is linked to that span in
    /// any case. A handler of several messages begins a trace, with a link to each. Default true.
    #[must_use]
    pub fn continue_traces(mut self, continues: bool) -> Self {
        self.continues = continues;
        self
    }

    /// Sets whether the provider's sampler is known to record nothing in a trace that the parent
    /// does not sample, as the SDK's default, `ParentBased`, does. It is then not asked about such
    /// spans, which makes them cheaper; messages carry the position of the parent. Default false:
    /// the sampler decides about each span.
    #[must_use]
    pub fn parent_based(mut self, is_parent_based: bool) -> Self {
        self.is_parent_based = is_parent_based;
        self
    }

    /// Returns where spans and metrics go, if anywhere. Settings of a user always count. Without
    /// them the global providers get metrics only if they get spans.
    pub(super) fn sinks(settings: Option<Self>, server: Option<Server>) -> Option<Sinks> {
        let is_set = settings.is_some();
        let Telemetry { tracer, meter, continues, is_parent_based } = settings.unwrap_or_default();
        let tracer = tracer.unwrap_or_else(|| Arc::new(global::tracer_with_scope(scope())));
        let tracer = Some(tracer).filter(|tracer| !is_noop(&**tracer));
        if tracer.is_none() && !is_set {
            return None;
        }
        let meter = meter.unwrap_or_else(|| global::meter_with_scope(scope()));
        Some(Sinks { tracer, instruments: Instruments::new(&meter), continues, is_parent_based, server })
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("continues", &self.continues).finish_non_exhaustive()
    }
}

fn scope() -> InstrumentationScope {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"));
    scope.with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA).build()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::noop::NoopTracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[test]
    fn the_global_provider_is_used_if_there_is_one_and_no_other_was_chosen() {
        assert!(Telemetry::sinks(None, None).is_none());
        let provider = SdkTracerProvider::builder().build();
        let chosen = Telemetry::new().tracer_provider(&provider);
        assert!(Telemetry::sinks(Some(chosen), None).unwrap().tracer.is_some());
        // Metrics alone may be wanted.
        assert!(Telemetry::sinks(Some(Telemetry::new()), None).unwrap().tracer.is_none());
        global::set_tracer_provider(provider);
        assert!(Telemetry::sinks(None, None).unwrap().tracer.is_some());
        global::set_tracer_provider(NoopTracerProvider::new());
        assert!(Telemetry::sinks(None, None).is_none());
    }
}
