//! AMQP connections in front of a [`Backend`]. What an operation needs of the backend is awaited,
//! so these sessions differ from those of the embedded broker, which finish everything under one
//! lock.

mod channel;
mod closing;
mod consumers;
mod delivering;
pub(crate) mod fault;
mod methods;
mod output;
mod publishing;
mod receiving;
mod registry;
pub(crate) mod session;
mod settling;
mod topology;

use std::{future::Future, pin::Pin, sync::Arc};

use amqp_codec::{MethodId, method::connection};
use bytes::BytesMut;

use crate::{
    backend::{Backend, BackendError, Link, Wakes},
    core::rabbitmq::refusal::Refusal,
    session::{command::Command, handshake::open_ok},
};

use self::{
    fault::Fault,
    registry::Registry,
    session::{Phase, Session, Terms},
};

/// A future in a box, because the types of backends are not known here.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A virtual host whose other side is a backend.
pub(crate) trait Gateway: Send + Sync {
    /// Opens a connection.
    fn open(&self, terms: Terms) -> BoxFuture<'_, Result<Box<dyn Connection>, BackendError>>;
}

/// An open connection, whatever its backend is.
pub(crate) trait Connection: Send {
    /// Processes the complete frames of `input`.
    fn receive<'a>(&'a mut self, input: &'a mut BytesMut) -> BoxFuture<'a, ()>;
    /// Waits for news of the backend, and processes it. Only the wait may be cancelled: a future
    /// that was dropped before it was ready may have lost news otherwise.
    fn wakes(&self) -> Wakes;
    /// Processes news of the backend.
    fn hear(&mut self, news: crate::backend::News) -> BoxFuture<'_, ()>;
    /// Delivers more, after output was written.
    fn serve(&mut self) -> BoxFuture<'_, ()>;
    /// The frames that are to be written.
    fn output(&mut self) -> &mut BytesMut;
    /// Appends a heartbeat.
    fn beat(&mut self);
    /// Executes a command of others than the client.
    fn apply(&mut self, command: Command) -> BoxFuture<'_, ()>;
    /// Its phase.
    fn phase(&self) -> Phase;
    /// The close that ended it, and the side that sent it.
    fn why(&self) -> Option<&str>;
    /// Ends it in the backend.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A backend, and what its connections share.
pub(crate) struct Entrance<B> {
    backend: B,
    registry: Arc<Registry>,
}

impl<B: Backend> Entrance<B> {
    pub(crate) fn new(vhost: String, backend: B) -> Self {
        Entrance { backend, registry: Arc::new(Registry::new(vhost)) }
    }
}

impl<B: Backend> Gateway for Entrance<B> {
    fn open(&self, terms: Terms) -> BoxFuture<'_, Result<Box<dyn Connection>, BackendError>> {
        Box::pin(async move {
            let wakes = Wakes::default();
            let link = self.backend.open(wakes.clone()).await?;
            let mut session = Session::new(link, wakes, terms, Arc::clone(&self.registry));
            session.output.method(0, &open_ok());
            Ok(Box::new(session) as Box<dyn Connection>)
        })
    }
}

impl<L: Link> Connection for Session<L> {
    fn receive<'a>(&'a mut self, input: &'a mut BytesMut) -> BoxFuture<'a, ()> {
        Box::pin(Session::receive(self, input))
    }

    fn wakes(&self) -> Wakes {
        self.wakes.clone()
    }

    fn hear(&mut self, news: crate::backend::News) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for queue in &news.queues {
                self.consumers.wake(queue);
            }
            let mut heard = news.lost.map_or(Ok(()), |error| Err(Fault::from(error)));
            for queue in &news.deleted {
                heard = heard.and(self.queue_is_gone(queue).await);
            }
            match heard {
                Err(fault) => self.close(&fault, MethodId::default()),
                Ok(()) => Session::serve(self).await,
            }
        })
    }

    fn serve(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(Session::serve(self))
    }

    fn output(&mut self) -> &mut BytesMut {
        &mut self.output.bytes
    }

    fn beat(&mut self) {
        self.output.heartbeat();
    }

    fn apply(&mut self, command: Command) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match command {
                Command::Drop => self.phase = Phase::Finished,
                Command::ShutDown => self.close(&Refusal::Shutdown.into(), MethodId::default()),
                Command::Close { code, text } => {
                    let fault = Fault { code, text, closes_connection: true };
                    self.close(&fault, MethodId::default());
                }
                Command::CloseChannel { number, code, text } => {
                    let fault = Fault { code, text, closes_connection: false };
                    self.fail(number, fault, MethodId::default()).await;
                }
            }
        })
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(Session::end(*self))
    }
}

/// The close of a connection that a backend does not open.
pub(crate) fn refused(error: &BackendError) -> connection::Close {
    let Fault { code, text, .. } = error.clone().into();
    connection::Close { reply_code: code.0, reply_text: text, class_id: 0, method_id: 0 }
}
