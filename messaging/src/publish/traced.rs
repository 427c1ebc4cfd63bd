//! The trace of messages that are published, and the operations in which they are.

use amqp_client::Message;

use crate::{
    error::Error,
    telemetry::observer::{ObservedExchange, Observer, Operation},
    trace_context::{self, TraceContext, TraceSource},
};

/// The source of the traces of a producer's messages.
#[derive(Clone, Default)]
pub(crate) struct Tracing {
    source: Option<TraceSource>,
    observed: ObservedExchange,
}

/// A message that is about to be published.
pub(crate) struct Traced {
    /// The message with its trace, if it was given one.
    pub(crate) marked: Option<Box<Message>>,
    pub(crate) operation: Operation,
}

impl Tracing {
    pub(crate) fn new(source: Option<TraceSource>, observer: &Observer, exchange: &str) -> Self {
        Tracing { source, observed: observer.exchange(exchange) }
    }

    /// Begins to publish a message.
    pub(crate) fn publish(&self, routing_key: &str, message: &Message) -> Result<Traced, Error> {
        self.begin(message, |creation| self.observed.publish(routing_key, message, creation))
    }

    /// Begins to publish many messages.
    pub(crate) fn publish_all(&self) -> Operation {
        self.observed.publish_all()
    }

    /// Begins to publish one message of many.
    pub(crate) fn one_of(
        &self,
        all: &Operation,
        routing_key: &str,
        message: &Message,
    ) -> Result<Traced, Error> {
        self.begin(message, |creation| self.observed.create(routing_key, message, creation, all))
    }

    /// Begins an operation on a message. The message gets the trace of the source, or else that of
    /// the operation, or else that of the message being handled.
    fn begin(
        &self,
        message: &Message,
        begin: impl FnOnce(Option<&TraceContext>) -> Operation,
    ) -> Result<Traced, Error> {
        if !self.observed.is_on() {
            let marked = trace_context::mark(self.source.as_ref(), message)?.map(Box::new);
            return Ok(Traced { marked, operation: Operation::default() });
        }
        if trace_context::is_marked(message) {
            let operation = begin(trace_context::carried(message).as_ref());
            return Ok(Traced { marked: None, operation });
        }
        let given = self.source.as_ref().and_then(TraceSource::current);
        let operation = begin(given.as_ref());
        let trace = given.or_else(|| operation.trace()).or_else(TraceContext::current);
        let marked = trace.map(|trace| trace_context::marked(message, trace)).transpose();
        match marked {
            Ok(marked) => Ok(Traced { marked: marked.map(Box::new), operation }),
            Err(error) => {
                operation.end(Err(&error));
                Err(error)
            }
        }
    }
}
