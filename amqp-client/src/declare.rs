//! Values as the methods that declare, bind and delete them.

use amqp_codec::{
    Request, ShortString,
    method::{exchange, queue},
};

use crate::{
    error::{Error, Result},
    topology::{Binding, Exchange, Queue, QueueInfo},
};

/// A value that can be declared on a channel: [`Exchange`] or [`Queue`].
pub trait Declare {
    /// What the broker tells of it.
    type Info;

    #[doc(hidden)]
    type Request: Request;

    #[doc(hidden)]
    fn request(&self, passive: bool, no_wait: bool) -> Result<Self::Request>;

    /// Its name, when it is a queue.
    #[doc(hidden)]
    fn queue(&self) -> Option<&str> {
        None
    }

    #[doc(hidden)]
    fn info(reply: <Self::Request as Request>::Reply) -> Self::Info;
}

impl Declare for Exchange {
    type Info = ();
    type Request = exchange::Declare;

    fn request(&self, passive: bool, no_wait: bool) -> Result<exchange::Declare> {
        Ok(exchange::Declare {
            exchange: short("exchange", &self.name)?,
            kind: short("exchange type", &self.kind)?,
            passive,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            no_wait,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    fn info(_: exchange::DeclareOk) {}
}

impl Declare for Queue {
    type Info = QueueInfo;
    type Request = queue::Declare;

    fn request(&self, passive: bool, no_wait: bool) -> Result<queue::Declare> {
        Ok(queue::Declare {
            queue: short("queue", &self.name)?,
            passive,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            no_wait,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    fn queue(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn info(ok: queue::DeclareOk) -> QueueInfo {
        QueueInfo { name: ok.queue.to_string(), messages: ok.message_count, consumers: ok.consumer_count }
    }
}

impl Binding {
    pub(crate) fn bind_queue(&self) -> Result<queue::Bind> {
        Ok(queue::Bind {
            queue: short("queue", &self.destination)?,
            exchange: short("exchange", &self.source)?,
            routing_key: short("routing_key", &self.routing_key)?,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    pub(crate) fn unbind_queue(&self) -> Result<queue::Unbind> {
        Ok(queue::Unbind {
            queue: short("queue", &self.destination)?,
            exchange: short("exchange", &self.source)?,
            routing_key: short("routing_key", &self.routing_key)?,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    pub(crate) fn bind_exchange(&self) -> Result<exchange::Bind> {
        Ok(exchange::Bind {
            destination: short("destination", &self.destination)?,
            source: short("source", &self.source)?,
            routing_key: short("routing_key", &self.routing_key)?,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    pub(crate) fn unbind_exchange(&self) -> Result<exchange::Unbind> {
        Ok(exchange::Unbind {
            destination: short("destination", &self.destination)?,
            source: short("source", &self.source)?,
            routing_key: short("routing_key", &self.routing_key)?,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }
}

/// A name as the wire has it.
///
/// # Errors
/// [`Error::Invalid`] over 255 bytes; `what` names the field in it.
pub(crate) fn short(what: &'static str, text: &str) -> Result<ShortString> {
    ShortString::new(what, text).map_err(Error::Invalid)
}
