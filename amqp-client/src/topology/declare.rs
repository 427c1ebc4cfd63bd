//! The values that can be declared, bound and deleted, as methods of the protocol.

use amqp_codec::{
    Request, ShortString,
    method::{exchange, queue},
};

use crate::{
    error::{Error, Result},
    topology::{Binding, Destination, Exchange, Queue, QueueInfo},
};

/// A value that can be declared on a channel: [`Exchange`] or [`Queue`], or a reference to one.
pub trait Declare {
    /// The broker's report about the declared entity.
    type Info;

    #[doc(hidden)]
    type Request: Request;

    #[doc(hidden)]
    fn request(&self) -> Result<Self::Request>;

    #[doc(hidden)]
    fn is_no_wait(&self) -> bool;

    /// Returns the queue's name, if this is a queue.
    #[doc(hidden)]
    fn queue(&self) -> Option<&str> {
        None
    }

    /// Makes the result from the broker's answer, if there is one.
    #[doc(hidden)]
    fn info(&self, reply: Option<<Self::Request as Request>::Reply>) -> Self::Info;
}

impl<D: Declare> Declare for &D {
    type Info = D::Info;
    type Request = D::Request;

    fn request(&self) -> Result<D::Request> {
        D::request(self)
    }

    fn is_no_wait(&self) -> bool {
        D::is_no_wait(self)
    }

    fn queue(&self) -> Option<&str> {
        D::queue(self)
    }

    fn info(&self, reply: Option<<D::Request as Request>::Reply>) -> D::Info {
        D::info(self, reply)
    }
}

impl Declare for Exchange {
    type Info = ();
    type Request = exchange::Declare;

    fn request(&self) -> Result<exchange::Declare> {
        Ok(exchange::Declare {
            exchange: short("exchange", &self.name)?,
            kind: short("exchange type", &self.kind)?,
            passive: self.passive,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            no_wait: self.no_wait,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    fn is_no_wait(&self) -> bool {
        self.no_wait
    }

    fn info(&self, _: Option<exchange::DeclareOk>) {}
}

impl Declare for Queue {
    type Info = QueueInfo;
    type Request = queue::Declare;

    fn request(&self) -> Result<queue::Declare> {
        if self.no_wait && self.name.is_empty() {
            return Err(Error::UnnamedQueue);
        }
        Ok(queue::Declare {
            queue: short("queue", &self.name)?,
            passive: self.passive,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            no_wait: self.no_wait,
            arguments: self.arguments.clone(),
            ..Default::default()
        })
    }

    fn is_no_wait(&self) -> bool {
        self.no_wait
    }

    fn queue(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn info(&self, reply: Option<queue::DeclareOk>) -> QueueInfo {
        match reply {
            Some(ok) => QueueInfo {
                name: ok.queue.to_string(),
                messages: ok.message_count,
                consumers: ok.consumer_count,
            },
            None => QueueInfo { name: self.name.clone(), messages: 0, consumers: 0 },
        }
    }
}

/// The method that makes a binding.
pub(crate) enum Bind {
    Queue(queue::Bind),
    Exchange(exchange::Bind),
}

/// The method that removes a binding.
pub(crate) enum Unbind {
    Queue(queue::Unbind),
    Exchange(exchange::Unbind),
}

impl Binding {
    pub(crate) fn request(&self) -> Result<Bind> {
        let source = short("exchange", &self.source)?;
        let routing_key = short("routing_key", &self.routing_key)?;
        let arguments = self.arguments.clone();
        Ok(match &self.destination {
            Destination::Queue(queue) => {
                let queue = short("queue", queue)?;
                let exchange = source;
                Bind::Queue(queue::Bind { queue, exchange, routing_key, arguments, ..Default::default() })
            }
            Destination::Exchange(destination) => {
                let destination = short("destination", destination)?;
                let bind =
                    exchange::Bind { destination, source, routing_key, arguments, ..Default::default() };
                Bind::Exchange(bind)
            }
        })
    }

    pub(crate) fn removal(&self) -> Result<Unbind> {
        Ok(match self.request()? {
            Bind::Queue(queue::Bind { queue, exchange, routing_key, arguments, .. }) => {
                Unbind::Queue(queue::Unbind { queue, exchange, routing_key, arguments, ..Default::default() })
            }
            Bind::Exchange(exchange::Bind { destination, source, routing_key, arguments, .. }) => {
                let unbind =
                    exchange::Unbind { destination, source, routing_key, arguments, ..Default::default() };
                Unbind::Exchange(unbind)
            }
        })
    }
}

/// Encodes a name as a short string.
///
/// # Errors
/// [`Error::Invalid`] over 255 bytes; `what` names the field in the error.
pub(crate) fn short(what: &'static str, text: &str) -> Result<ShortString> {
    ShortString::new(what, text).map_err(Error::Invalid)
}
