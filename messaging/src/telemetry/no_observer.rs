//! The stand-in for what observes a transport, without the feature `opentelemetry`.

use amqp_client::{Delivery, Event, Message, Queue, Received};

use crate::{
    error::Error,
    trace_context::{Mark, TraceContext},
};

pub(crate) const HANDLER_FAILED: &str = "";
pub(crate) const HANDLER_PANICKED: &str = "";
pub(crate) const UNDECODABLE: &str = "";

#[derive(Clone, Default)]
pub(crate) struct Observer(());

impl Observer {
    pub(crate) fn exchange(&self, _name: &str) -> ObservedExchange {
        ObservedExchange(())
    }

    pub(crate) fn queue(&self, _queue: &Queue) -> ObservedQueue {
        ObservedQueue(())
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn any_queue(&self) -> ObservedQueue {
        ObservedQueue(())
    }

    pub(crate) fn connection(&self, _role: &'static str) -> ObservedConnection {
        ObservedConnection
    }

    pub(crate) fn reconnected(&self, _role: &'static str) {}

    #[cfg(feature = "oslo")]
    pub(crate) fn call(&self, _namespace: Option<&str>, _method: &str) -> Operation {
        Operation(())
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn serve(
        &self,
        _namespace: Option<&str>,
        _method: &str,
        _exists: impl FnOnce() -> bool,
    ) -> Operation {
        Operation(())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Operation(());

impl Operation {
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        None
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        None
    }

    pub(crate) fn has_span(&self) -> bool {
        false
    }

    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        call()
    }

    pub(crate) fn around<F: Future>(&self, future: F) -> F {
        future
    }

    pub(crate) fn end(&self, _result: Result<(), &Error>) {}

    pub(crate) fn end_as(&self, _failure: Option<&str>) {}

    pub(crate) fn counted(&self, _messages: u64) {}

    pub(crate) fn settle(&self, _how: &'static str) -> Operation {
        Operation(())
    }
}

#[derive(Clone, Default)]
pub(crate) struct ObservedExchange(());

impl ObservedExchange {
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn publish(
        &self,
        _key: &str,
        _message: &Message,
        _creation: Option<&TraceContext>,
    ) -> Operation {
        Operation(())
    }

    pub(crate) fn publish_all(&self) -> Operation {
        Operation(())
    }

    pub(crate) fn create(
        &self,
        _key: &str,
        _message: &Message,
        _creation: Option<&TraceContext>,
        _all: &Operation,
    ) -> Operation {
        Operation(())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Waiting;

#[derive(Clone, Default)]
pub(crate) struct ObservedQueue(());

impl ObservedQueue {
    pub(crate) fn wait(&self) -> Waiting {
        Waiting
    }

    pub(crate) fn receive(&self, _delivery: &Delivery, _waiting: Waiting) -> Operation {
        Operation(())
    }

    pub(crate) fn process(&self, _received: &Received) -> Operation {
        Operation(())
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn one_of_many(&self, _received: &Received) -> Operation {
        Operation(())
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn process_all<'a>(
        &self,
        _traces: impl ExactSizeIterator<Item = Option<&'a TraceContext>>,
    ) -> Operation {
        Operation(())
    }
}

pub(crate) struct ObservedConnection;

impl ObservedConnection {
    pub(crate) fn event(&mut self, _event: &Event) {}
}
