//! Where the spans and metrics of a transport go, and what all of them have in common.

use std::{borrow::Cow, sync::Arc};

use opentelemetry::{Key, KeyValue, StringValue, Value, trace::SpanBuilder};

use crate::telemetry::{
    destination::{Destination, Known, OPERATIONS},
    instruments::Instruments,
    names,
    tracer::Start,
};

pub(super) struct Sinks {
    /// The tracer, unless it does nothing.
    pub(super) tracer: Option<Arc<dyn Start>>,
    pub(super) instruments: Instruments,
    /// Set when the span of a handler continues the trace of its message.
    pub(super) continues: bool,
    /// Set when there are no spans in traces that are not sampled.
    pub(super) is_parent_based: bool,
    /// The broker, if there is only one.
    pub(super) server: Option<Server>,
}

/// The most attributes of a span: those below, three of the destination, two ids and an error.
const MOST: usize = 12;

/// The address of a broker.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) address: Arc<str>,
    pub(super) port: u16,
}

/// An operation by its name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Publish,
    Create,
    /// A `publish` of many messages.
    Batch,
    Receive,
    Process,
    /// It settles a message in this way.
    Settle(&'static str),
    /// Not an operation of messaging: a call, or a method that runs.
    #[cfg(feature = "oslo")]
    Rpc,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            What::Publish | What::Batch => "publish",
            What::Create => "create",
            What::Receive => "receive",
            What::Process => "process",
            What::Settle(how) => how,
            #[cfg(feature = "oslo")]
            What::Rpc => "",
        }
    }

    /// Tells whether other operations happen within it.
    pub(super) fn contains_others(self) -> bool {
        match self {
            What::Process => true,
            #[cfg(feature = "oslo")]
            What::Rpc => true,
            _ => false,
        }
    }

    /// Returns the name of the operation that it counts as in metrics.
    fn measured_as(self) -> &'static str {
        if self == What::Create { What::Publish.name() } else { self.name() }
    }

    /// Returns the number of the operation among those of which something is remembered.
    fn number(self) -> usize {
        match self {
            What::Publish | What::Batch => 0,
            What::Receive => 1,
            What::Process => 2,
            What::Settle("ack") => 3,
            What::Settle("nack") => 4,
            What::Settle("reject") => 5,
            What::Create => 6,
            #[cfg(feature = "oslo")]
            What::Rpc => OPERATIONS,
            What::Settle(_) => OPERATIONS,
        }
    }

    /// Returns the name of its span.
    fn span_name(self, destination: &Destination) -> String {
        match &destination.lasting {
            None => self.name().to_owned(),
            Some(lasting) => format!("{} {lasting}", self.name()),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            What::Publish | What::Batch => "send",
            What::Create => "create",
            What::Receive => "receive",
            What::Process => "process",
            What::Settle(_) => "settle",
            #[cfg(feature = "oslo")]
            What::Rpc => "",
        }
    }
}

impl Sinks {
    /// Returns the span of an operation, with the attributes that samplers may want to see.
    pub(super) fn span(&self, what: What, destination: &Destination) -> SpanBuilder {
        // Making them takes a third of the time of cloning them.
        let mut attributes = Vec::with_capacity(MOST);
        attributes.push(text(names::SYSTEM, names::RABBITMQ));
        attributes.push(text(names::OPERATION_NAME, what.name()));
        attributes.push(text(names::OPERATION_TYPE, what.kind()));
        attributes.push(text(names::DESTINATION_NAME, destination.full.clone()));
        if let Some(server) = &self.server {
            attributes.extend(server.attributes());
        }
        let name = self.known(what, destination).name.to_string().into();
        SpanBuilder { name, attributes: Some(attributes), ..SpanBuilder::default() }
    }

    /// Passes the attributes of an operation's metrics to `record`.
    pub(super) fn measure(
        &self,
        what: What,
        destination: &Destination,
        error: Option<&str>,
        record: impl FnOnce(&[KeyValue]),
    ) {
        match error {
            None => record(&self.known(what, destination).measured),
            Some(_) => record(&self.attributes(what.measured_as(), destination, error)),
        }
    }

    fn known<'a>(&self, what: What, destination: &'a Destination) -> Cow<'a, Known> {
        let known = || Known {
            name: what.span_name(destination).into(),
            measured: self.attributes(what.measured_as(), destination, None).into(),
        };
        match destination.known.get(what.number()) {
            Some(place) => Cow::Borrowed(place.get_or_init(known)),
            None => Cow::Owned(known()),
        }
    }

    fn attributes(
        &self,
        operation: &'static str,
        destination: &Destination,
        error: Option<&str>,
    ) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(text(names::SYSTEM, names::RABBITMQ));
        attributes.push(text(names::OPERATION_NAME, operation));
        attributes.extend(destination.entity.clone().map(|name| text(names::DESTINATION_NAME, name)));
        if let Some(server) = &self.server {
            attributes.extend(server.attributes());
        }
        attributes.extend(error.map(|error| text(names::ERROR_TYPE, error.to_owned())));
        attributes
    }
}

impl Server {
    fn attributes(&self) -> [KeyValue; 2] {
        let port = KeyValue::new(names::SERVER_PORT, i64::from(self.port));
        [text(names::SERVER_ADDRESS, self.address.clone()), port]
    }
}

impl Destination {
    /// Returns the attributes that only recorded spans have.
    pub(super) fn details(&self) -> impl Iterator<Item = KeyValue> {
        let key = Some(self.routing_key()).filter(|key| !key.is_empty());
        let key = key.map(|key| text(names::ROUTING_KEY, key.clone()));
        let flag = |name, is_set: bool| is_set.then(|| KeyValue::new(name, true));
        let temporary = flag(names::DESTINATION_TEMPORARY, self.is_temporary);
        key.into_iter().chain(temporary).chain(flag(names::DESTINATION_ANONYMOUS, self.is_anonymous))
    }
}

/// Returns an attribute whose value is text.
pub(super) fn text(name: &'static str, value: impl Into<StringValue>) -> KeyValue {
    KeyValue::new(Key::from_static_str(name), Value::String(value.into()))
}
