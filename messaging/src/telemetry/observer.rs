//! The observer of a transport's operations.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use amqp_client::{Delivery, Event, Message, Queue, Received};
use amqp_codec::{ShortString, borrowed::ContentProperties};
#[cfg(feature = "oslo")]
use opentelemetry::trace::SpanBuilder;
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanKind, TraceContextExt as _},
};

pub(crate) use crate::telemetry::operation::Operation;
use crate::{
    telemetry::{
        destination::{Destination, Destinations},
        names,
        operation::Beginning,
        providers::Telemetry,
        sinks::{Server, Sinks, What, text},
    },
    trace_context::TraceContext,
};

/// The class of failures of handlers, and of those that panicked.
pub(crate) const HANDLER_FAILED: &str = "handler_failed";
pub(crate) const HANDLER_PANICKED: &str = "handler_panicked";
/// The class of messages that cannot be decoded.
pub(crate) const UNDECODABLE: &str = "undecodable";

/// Observes a transport, unless nobody wants to know. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Sinks>>);

impl Observer {
    /// Returns an observer with these settings, or with the global providers; `server` is the
    /// broker's address, if there is only one.
    pub(crate) fn new(settings: Option<Telemetry>, server: Option<(&str, u16)>) -> Self {
        let server = server.map(|(address, port)| Server { address: address.into(), port });
        Observer(Telemetry::sinks(settings, server).map(Arc::new))
    }

    /// Returns what observes publishing to an exchange.
    pub(crate) fn exchange(&self, name: &str) -> ObservedExchange {
        let observed = |sinks: &Arc<Sinks>| Arc::new((sinks.clone(), Destinations::of_exchange(name)));
        ObservedExchange(self.0.as_ref().map(observed))
    }

    /// Returns what observes consuming from a queue.
    pub(crate) fn queue(&self, queue: &Queue) -> ObservedQueue {
        let name = queue.name();
        let is_temporary = name.is_empty() || queue.is_exclusive() || queue.is_auto_delete();
        self.queue_named(name, is_temporary)
    }

    /// Returns what observes consuming from queues that messages do not name.
    #[cfg(feature = "oslo")]
    pub(crate) fn any_queue(&self) -> ObservedQueue {
        self.queue_named("", false)
    }

    fn queue_named(&self, name: &str, is_temporary: bool) -> ObservedQueue {
        let destinations = || Destinations::of_queue(name, is_temporary);
        ObservedQueue(self.0.as_ref().map(|sinks| Arc::new((sinks.clone(), destinations()))))
    }

    /// Returns what observes a connection that has just been opened; `role` is its purpose.
    pub(crate) fn connection(&self, role: &'static str) -> ObservedConnection {
        let mut observed = ObservedConnection { sinks: self.0.clone(), role, is_open: false, blocked: None };
        observed.is_open(true);
        observed
    }

    /// Counts that a connection was opened in place of one that was lost.
    pub(crate) fn reconnected(&self, role: &'static str) {
        if let Some(sinks) = &self.0 {
            sinks.instruments.reconnects.add(1, &[text(names::ROLE, role)]);
        }
    }

    /// Begins a call of a remote method.
    #[cfg(feature = "oslo")]
    pub(crate) fn call(&self, namespace: Option<&str>, method: &str) -> Operation {
        self.rpc(SpanKind::Client, namespace, method, None)
    }

    /// Begins to run a method. One that does not exist is not named: names that others make up
    /// would be too many.
    #[cfg(feature = "oslo")]
    pub(crate) fn serve(
        &self,
        namespace: Option<&str>,
        method: &str,
        exists: impl FnOnce() -> bool,
    ) -> Operation {
        match &self.0 {
            None => Operation::default(),
            Some(_) if exists() => self.rpc(SpanKind::Server, namespace, method, None),
            Some(_) => self.rpc(SpanKind::Server, None, names::OTHER, Some(method)),
        }
    }

    #[cfg(feature = "oslo")]
    fn rpc(
        &self,
        kind: SpanKind,
        namespace: Option<&str>,
        method: &str,
        original: Option<&str>,
    ) -> Operation {
        let Some(sinks) = &self.0 else { return Operation::default() };
        Operation::rpc(sinks, || {
            let method = match namespace {
                Some(namespace) => format!("{namespace}/{method}"),
                None => method.to_owned(),
            };
            let original =
                original.map(|original| text(names::RPC_METHOD_ORIGINAL, shown(original).to_owned()));
            let attributes = [text(names::RPC_SYSTEM, names::OSLO), text(names::RPC_METHOD, method.clone())];
            SpanBuilder::from_name(method)
                .with_kind(kind)
                .with_attributes(attributes.into_iter().chain(original))
        })
    }
}

/// The most bytes of a peer's text that go into a span.
#[cfg(feature = "oslo")]
const SHOWN: usize = 100;

#[cfg(feature = "oslo")]
fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default()
}

/// Observes publishing to one exchange.
#[derive(Clone, Default)]
pub(crate) struct ObservedExchange(Option<Arc<(Arc<Sinks>, Destinations)>>);

impl ObservedExchange {
    /// Tells whether somebody observes it.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to publish a message; `creation` is the trace that it has already.
    pub(crate) fn publish(
        &self,
        routing_key: &str,
        message: &Message,
        creation: Option<&TraceContext>,
    ) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let (sinks, destinations) = &**observed;
        let creation = creation.and_then(TraceContext::span_context);
        let kind = if creation.is_some() { SpanKind::Client } else { SpanKind::Producer };
        let (what, destination) = (What::Publish, destinations.to(routing_key));
        let beginning = Beginning { sinks, what, kind, destination, creation, since: None };
        Context::map_current(|current| beginning.under(current, &|| ids(message)))
    }

    /// Begins to publish many messages.
    pub(crate) fn publish_all(&self) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let (sinks, destinations) = &**observed;
        let (what, kind, destination) = (What::Batch, SpanKind::Client, destinations.of_batch());
        let beginning = Beginning { sinks, what, kind, destination, creation: None, since: None };
        Context::map_current(|current| beginning.under(current, &Vec::new))
    }

    /// Begins to publish a message of many, which `all` links. A message that has a trace already
    /// gets no span.
    pub(crate) fn create(
        &self,
        routing_key: &str,
        message: &Message,
        creation: Option<&TraceContext>,
        all: &Operation,
    ) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let (sinks, destinations) = &**observed;
        let creation = creation.and_then(TraceContext::span_context);
        let (what, kind, destination) = (What::Create, SpanKind::Producer, destinations.to(routing_key));
        let given = creation.clone();
        let beginning = Beginning { sinks, what, kind, destination, creation, since: None };
        let created = match given {
            Some(_) => beginning.without_span(),
            None => Context::map_current(|current| beginning.under(current, &|| ids(message))),
        };
        given.or_else(|| created.span_context()).into_iter().for_each(|link| all.link(link));
        created
    }
}

/// Returns the attributes for the ids of a message, unless they are still encoded.
fn ids(message: &Message) -> Vec<KeyValue> {
    if message.encoded_properties().is_some() {
        return Vec::new();
    }
    let properties = message.properties();
    let attribute = |name, id: &Option<ShortString>| {
        let id = id.as_ref().and_then(|id| id.as_str().ok()).map(str::to_owned);
        id.map(|id| text(name, id))
    };
    let id = attribute(names::MESSAGE_ID, &properties.message_id);
    id.into_iter().chain(attribute(names::CONVERSATION_ID, &properties.correlation_id)).collect()
}

/// The time since which somebody waits for a message.
#[derive(Clone, Copy)]
pub(crate) struct Waiting(Option<(SystemTime, Instant)>);

/// Observes consuming from one queue.
#[derive(Clone, Default)]
pub(crate) struct ObservedQueue(Option<Arc<(Arc<Sinks>, Destinations)>>);

impl ObservedQueue {
    /// Notes that somebody begins to wait for a message.
    pub(crate) fn wait(&self) -> Waiting {
        Waiting(self.0.as_ref().map(|_| (SystemTime::now(), Instant::now())))
    }

    /// Begins to hand a message out to somebody who has waited for it.
    pub(crate) fn receive(&self, delivery: &Delivery, waiting: Waiting) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let properties = delivery.content_properties().ok();
        let destination = observed.1.of(&delivery.exchange(), &delivery.routing_key());
        let beginning =
            arrived(&observed.0, (What::Receive, SpanKind::Client), destination, properties.as_ref());
        let beginning = Beginning { since: waiting.0, ..beginning };
        Context::map_current(|current| beginning.under(current, &|| id(properties.as_ref())))
    }

    /// Begins to handle a message.
    pub(crate) fn process(&self, received: &Received) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let properties = received.content_properties().ok();
        let destination = observed.1.of(&received.exchange(), &received.routing_key());
        let beginning =
            arrived(&observed.0, (What::Process, SpanKind::Consumer), destination, properties.as_ref());
        let details = || id(properties.as_ref());
        match &beginning.creation {
            Some(creation) if beginning.sinks.continues => {
                let creation = Context::new().with_remote_span_context(creation.clone());
                beginning.under(&creation, &details)
            }
            _ => beginning.under(&Context::new(), &details),
        }
    }

    /// Returns a message that is handled together with others, for its settlement.
    #[cfg(feature = "oslo")]
    pub(crate) fn one_of_many(&self, received: &Received) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let properties = received.content_properties().ok();
        let destination = observed.1.of(&received.exchange(), &received.routing_key());
        let what = (What::Receive, SpanKind::Consumer);
        arrived(&observed.0, what, destination, properties.as_ref()).without_span().ignored()
    }

    /// Begins to handle many messages of these traces.
    #[cfg(feature = "oslo")]
    pub(crate) fn process_all<'a>(
        &self,
        traces: impl ExactSizeIterator<Item = Option<&'a TraceContext>>,
    ) -> Operation {
        let Some(observed) = &self.0 else { return Operation::default() };
        let (sinks, destinations) = &**observed;
        let (what, kind, destination) = (What::Process, SpanKind::Consumer, destinations.of_batch());
        let beginning = Beginning { sinks, what, kind, destination, creation: None, since: None };
        let operation = beginning.under(&Context::new(), &Vec::new);
        operation.counted(traces.len() as u64);
        traces.flatten().filter_map(TraceContext::span_context).for_each(|creation| operation.link(creation));
        operation
    }
}

/// Returns the beginning of an operation on a message that has arrived.
fn arrived<'a>(
    sinks: &'a Arc<Sinks>,
    (what, kind): (What, SpanKind),
    destination: Arc<Destination>,
    properties: Option<&ContentProperties<'_>>,
) -> Beginning<'a> {
    let creation: Option<SpanContext> = properties.and_then(TraceContext::read_span);
    Beginning { sinks, what, kind, destination, creation, since: None }
}

/// Returns the attribute for the id of a message.
fn id(properties: Option<&ContentProperties<'_>>) -> Vec<KeyValue> {
    let id = properties.and_then(|properties| properties.message_id);
    let id = id.and_then(|id| str::from_utf8(id).ok());
    id.map(|id| text(names::MESSAGE_ID, id.to_owned())).into_iter().collect()
}

/// Observes one connection.
///
/// # On drop
/// The connection counts as closed.
pub(crate) struct ObservedConnection {
    sinks: Option<Arc<Sinks>>,
    role: &'static str,
    is_open: bool,
    blocked: Option<Instant>,
}

impl ObservedConnection {
    /// Notes an event of the connection.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Blocked(_) => self.blocked = self.blocked.or_else(|| Some(Instant::now())),
            Event::Unblocked => self.unblocked(),
            Event::Disconnected(_) | Event::Closed(_) => self.is_open(false),
            Event::Recovered(_) => {
                self.is_open(true);
                self.sinks.iter().for_each(|sinks| {
                    sinks.instruments.reconnects.add(1, &[text(names::ROLE, self.role)]);
                });
            }
            _ => {}
        }
    }

    fn is_open(&mut self, is_open: bool) {
        self.unblocked();
        if let Some(sinks) = &self.sinks
            && std::mem::replace(&mut self.is_open, is_open) != is_open
        {
            let change = if is_open { 1 } else { -1 };
            sinks.instruments.connections.add(change, &[text(names::ROLE, self.role)]);
        }
    }

    fn unblocked(&mut self) {
        if let (Some(since), Some(sinks)) = (self.blocked.take(), &self.sinks) {
            let role = [text(names::ROLE, self.role)];
            sinks.instruments.blocked.add(since.elapsed().as_secs_f64(), &role);
        }
    }
}

impl Drop for ObservedConnection {
    fn drop(&mut self) {
        self.is_open(false);
    }
}
