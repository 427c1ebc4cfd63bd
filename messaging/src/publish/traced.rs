//! The trace of messages that are published, and the operations in which they are.

use amqp_client::Message;

use crate::{
    error::Error,
    publish::kept::Kept,
    telemetry::observer::{ObservedExchange, Observer, Operation},
    trace_context::{self, Mark, TraceContext, TraceSource},
};

/// The source of the traces of a producer's messages.
#[derive(Clone, Default)]
pub(crate) struct Tracing {
    source: Option<TraceSource>,
    observed: ObservedExchange,
}

impl Tracing {
    pub(crate) fn new(source: Option<TraceSource>, observer: &Observer, exchange: &str) -> Self {
        Tracing { source, observed: observer.exchange(exchange) }
    }

    /// Tells whether messages are published as they are, in no operation.
    pub(crate) fn is_off(&self) -> bool {
        !self.observed.is_on() && self.source.is_none() && !trace_context::is_handling()
    }

    /// Begins to publish a message, and returns it with its trace.
    pub(crate) fn publish<'a>(
        &self,
        routing_key: &str,
        mut message: Kept<'a>,
    ) -> Result<(Kept<'a>, Operation), Error> {
        let (mark, operation) = message.with(|message| {
            self.begin(message, |creation| self.observed.publish(routing_key, message, creation))
        });
        let Some(mark) = mark else { return Ok((message, operation)) };
        let message = marked(message.into_made(), &mark, &operation)?;
        Ok((Kept::Made(message), operation))
    }

    /// Begins to publish many messages.
    pub(crate) fn publish_all(&self) -> Operation {
        self.observed.publish_all()
    }

    /// Begins to publish one message of many. Returns it too if it gets a trace.
    pub(crate) fn one_of(
        &self,
        all: &Operation,
        routing_key: &str,
        message: &Message,
    ) -> Result<(Option<Box<Message>>, Operation), Error> {
        let begin = |creation: Option<&_>| self.observed.create(routing_key, message, creation, all);
        let (mark, operation) = self.begin(message, begin);
        let marked = mark.map(|mark| marked(Box::new(message.clone()), &mark, &operation)).transpose()?;
        Ok((marked, operation))
    }

    /// Begins an operation on a message. The message gets the trace of the source, or else that of
    /// the operation, or else that of the message being handled.
    fn begin(
        &self,
        message: &Message,
        begin: impl FnOnce(Option<&TraceContext>) -> Operation,
    ) -> (Option<Mark>, Operation) {
        if self.is_off() {
            return (None, Operation::default());
        }
        if trace_context::is_marked(message) {
            let carried = if self.observed.is_on() { trace_context::carried(message) } else { None };
            return (None, begin(carried.as_ref()));
        }
        let given = self.source.as_ref().and_then(TraceSource::current);
        let operation = begin(given.as_ref());
        let mark = given.map(Mark::Text).or_else(|| operation.mark()).or_else(Mark::current);
        (mark, operation)
    }
}

/// Returns the message with this trace. If it cannot have that, its operation has ended.
fn marked(mut message: Box<Message>, mark: &Mark, operation: &Operation) -> Result<Box<Message>, Error> {
    match mark.put_on(&mut message) {
        Ok(()) => Ok(message),
        Err(error) => {
            operation.end(Err(&error));
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::EncodedProperties;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Returns the message with the trace that it gets, if it gets one.
    fn mark(source: Option<TraceSource>, message: &Message) -> Option<Message> {
        let tracing = Tracing::new(source, &Observer::default(), "x");
        match tracing.publish("key", Kept::Borrowed(message)).unwrap().0 {
            Kept::Borrowed(_) => None,
            kept => Some(kept.into_message()),
        }
    }

    #[test]
    fn a_message_is_marked_once() {
        let context = TraceContext::new(PARENT).unwrap().tracestate("a=b");
        let returned = context.clone();
        let source = TraceSource::new(move || Some(returned.clone()));
        let message = Message::new("x");
        let marked = mark(Some(source), &message).unwrap();
        assert_eq!(TraceContext::of(marked.properties()), Some(context));
        let other = TraceSource::new(|| panic!("it is not asked"));
        assert_eq!(mark(Some(other.clone()), &marked), None);
        let passed_on = Message::with_encoded_properties("x", EncodedProperties::NONE);
        assert_eq!(mark(Some(other), &passed_on), None);
        assert_eq!(mark(Some(TraceSource::new(|| None)), &message), None);
    }

    #[tokio::test]
    async fn what_is_published_while_a_message_is_handled_carries_its_trace_on() {
        let context = TraceContext::new(PARENT).unwrap().tracestate("a=b");
        let message = Message::new("x");
        assert_eq!((TraceContext::current(), mark(None, &message)), (None, None));
        let handling = async {
            assert_eq!(TraceContext::current().unwrap().trace_id(), "0af7651916cd43dd8448eb211c80319c");
            let marked = mark(None, &message).unwrap();
            assert_eq!(TraceContext::of(marked.properties()).as_ref(), Some(&context));
            assert_eq!(mark(None, &marked), None);
            let other = TraceContext::new("00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
            let source = TraceSource::new(move || Some(other.clone()));
            let marked = mark(Some(source), &message).unwrap();
            assert!(TraceContext::of(marked.properties()).unwrap().trace_id().starts_with("1af"));
        };
        context.clone().scope(handling).await;
        assert_eq!(TraceContext::current(), None);
    }
}
