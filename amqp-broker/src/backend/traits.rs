//! The traits that a backend implements.

use std::future::{Future, ready};

use super::{
    backend_error::BackendError,
    bindings::Binding,
    entities::{ExchangeDeclaration, QueueDeclaration},
    message::{Claimed, Message, Published, Settlement, Source},
    queue_order::QueueOrder,
    wakes::Wakes,
};

/// A store of messages that is not a broker, such as a Redis or a folder of files.
pub trait Backend: Send + Sync + 'static {
    /// The view of one AMQP connection.
    type Link: Link;

    /// Returns a name that tells clients what their virtual host stands on, such as `redis`; empty
    /// by default. The broker sends it in the server property `backends`.
    fn name(&self) -> &str {
        ""
    }

    /// Opens the view of a new AMQP connection. The backend announces through `wakes` which of the
    /// [watched](Link::watch) queues may have messages.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when the backend cannot be reached. The client learns it as
    /// the refusal of its connection.
    fn open(&self, wakes: Wakes) -> impl Future<Output = Result<Self::Link, BackendError>> + Send;
}

/// What one AMQP connection sees of a backend.
///
/// The gateway calls one method at a time and waits for it, so that operations of a connection take
/// effect in their order. Every method must end by itself: the gateway sets no time limit. A method
/// is dropped before it ends only together with the link, when the gateway's runtime ends.
pub trait Link: Send + 'static {
    /// What settles a claimed message.
    type Claim: Send + 'static;

    /// The order of the queues that the connection consumes from. The gateway asks once.
    fn queue_order(&self) -> QueueOrder {
        QueueOrder::RoundRobin
    }

    /// Declares an exchange.
    ///
    /// # Errors
    /// [`BackendError::PreconditionFailed`] when it exists with another kind.
    fn declare_exchange(
        &mut self,
        exchange: &ExchangeDeclaration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Checks that an exchange exists.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] when it does not, as far as the backend can tell.
    fn find_exchange(&mut self, name: &str) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Deletes an exchange and its bindings. One that does not exist is no error.
    ///
    /// # Errors
    /// [`BackendError::PreconditionFailed`] with `if_unused` when it has bindings.
    fn delete_exchange(
        &mut self,
        name: &str,
        if_unused: bool,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Declares a queue; returns how many messages it holds.
    ///
    /// # Errors
    /// [`BackendError::NotImplemented`] for arguments that the backend cannot serve.
    fn declare_queue(
        &mut self,
        queue: &QueueDeclaration,
    ) -> impl Future<Output = Result<u32, BackendError>> + Send;

    /// Returns how many messages a queue holds.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] when it does not exist, as far as the backend can tell.
    fn find_queue(&mut self, name: &str) -> impl Future<Output = Result<u32, BackendError>> + Send;

    /// Deletes a queue with its messages and bindings; returns how many messages it held.
    ///
    /// # Errors
    /// When the backend refuses it.
    fn delete_queue(&mut self, name: &str) -> impl Future<Output = Result<u32, BackendError>> + Send;

    /// The last consumer that this gateway knows of has left an auto-delete queue. Others may
    /// consume from it elsewhere, so a backend deletes it only when it can tell that nobody does.
    ///
    /// # Errors
    /// When the backend fails.
    fn leave_queue(&mut self, name: &str) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Removes all messages from a queue that nobody has claimed; returns their number.
    ///
    /// # Errors
    /// When the backend refuses it.
    fn purge_queue(&mut self, name: &str) -> impl Future<Output = Result<u32, BackendError>> + Send;

    /// Binds a queue to an exchange. An existing binding is no error.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] when the exchange does not exist.
    fn bind(&mut self, binding: &Binding) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Removes a binding. One that does not exist is no error.
    ///
    /// # Errors
    /// When the backend fails.
    fn unbind(&mut self, binding: &Binding) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Checks that this connection may use a queue. The gateway keeps the connections of its own
    /// process away from each other's exclusive queues; a backend that other processes share does
    /// it for them. It is asked before anything is done to a queue but its declaration.
    ///
    /// # Errors
    /// [`BackendError::Locked`] when the queue belongs to another.
    fn check_access(&mut self, queue: &str) -> impl Future<Output = Result<(), BackendError>> + Send {
        let _ = queue;
        ready(Ok(()))
    }

    /// A consumer begins. As with [`check_access`](Self::check_access), the gateway knows those of
    /// its own process.
    ///
    /// # Errors
    /// [`BackendError::AccessRefused`] when another has the queue to itself, or this one wants to
    /// and there is another.
    fn add_consumer(
        &mut self,
        queue: &str,
        exclusive: bool,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        let _ = (queue, exclusive);
        ready(Ok(()))
    }

    /// A consumer has ended that [`add_consumer`](Self::add_consumer) was called for.
    ///
    /// # Errors
    /// When the backend fails.
    fn remove_consumer(&mut self, queue: &str) -> impl Future<Output = Result<(), BackendError>> + Send {
        let _ = queue;
        ready(Ok(()))
    }

    /// Returns how many consumers a queue has in all processes; `None` when only those of the
    /// gateway's own are known.
    ///
    /// # Errors
    /// When the backend fails.
    fn count_consumers(
        &mut self,
        queue: &str,
    ) -> impl Future<Output = Result<Option<u32>, BackendError>> + Send {
        let _ = queue;
        ready(Ok(None))
    }

    /// Publishes messages of one channel, in their order; returns what became of each. It ends with
    /// the first that is [`Published::Refused`], whose channel is closed: nothing behind it is
    /// published. When it returns, they are as safe as the backend makes them, because the gateway
    /// confirms them then.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when it is unknown what became of them. A verdict on one
    /// message is its [`Published`].
    fn publish(
        &mut self,
        messages: &[Message],
    ) -> impl Future<Output = Result<Vec<Published>, BackendError>> + Send;

    /// Begins to announce a queue's messages. The backend wakes the queue whenever a message may
    /// have arrived since the last [`claim`](Self::claim) that found too few.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] when the queue does not exist.
    fn watch(&mut self, queue: &str) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Ends what [`watch`](Self::watch) began.
    ///
    /// # Errors
    /// When the backend fails.
    fn unwatch(&mut self, queue: &str) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Takes messages from queues, at once and without waiting for any; the first sources come
    /// first where the backend has no order of its own, such as priorities. When a source gets
    /// fewer messages than it wants, its queue is empty or will be woken again.
    ///
    /// A claimed message belongs to this link until it is settled or the link is gone: no other
    /// gets it. A message must never be lost between queue and claim.
    ///
    /// # Errors
    /// When the backend fails; messages that it may have claimed are returned to their queues.
    fn claim(
        &mut self,
        sources: &[Source<'_>],
    ) -> impl Future<Output = Result<Vec<Claimed<Self::Claim>>, BackendError>> + Send;

    /// Settles claimed messages, in their order; returns how many of them had been returned to
    /// their queues meanwhile, so that others may process them again. Messages that are requeued
    /// come in the reverse order of their deliveries, so that the first is in front at last.
    ///
    /// # Errors
    /// When the backend fails; the claims are then treated as those of a lost connection.
    fn settle(
        &mut self,
        claims: Vec<(Self::Claim, Settlement)>,
    ) -> impl Future<Output = Result<usize, BackendError>> + Send;

    /// Ends the link. Whatever the gateway has not settled is settled before, as
    /// [`Settlement::Requeue`]. A link that is dropped instead leaves its claims to the backend,
    /// which returns them when it can.
    fn close(self) -> impl Future<Output = ()> + Send;
}
