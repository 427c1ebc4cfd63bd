//! The seam between AMQP and message stores that are not brokers: whoever implements [`Backend`]
//! has a transport for every AMQP client.
//!
//! A broker with a [backend](crate::BrokerBuilder::backend) speaks AMQP with its clients, and asks
//! the backend for what it would do itself otherwise. The broker keeps whatever belongs to a
//! connection: channels, consumers, prefetch, delivery tags, confirms, returns, exclusive queues; a
//! backend that several processes share has a say in who is alone ([`Link::check_access`]). The
//! backend keeps what outlives a connection: exchanges, bindings, messages, and which of them are
//! claimed.
//!
//! # Writing a transport
//! 1. A [`Backend`] opens a [`Link`] for each AMQP connection. What all links share, such as
//!    connections to the store, belongs to the backend.
//! 2. The link implements what clients ask for. The gateway calls one method at a time and awaits
//!    it, so that a link needs no lock of its own. What cannot be served is a [`BackendError`],
//!    whose text the client gets.
//! 3. [`Link::claim`] takes messages and never waits: between calls the gateway sleeps until
//!    [`Wakes::wake`] tells that a queue may have more. A store that cannot announce messages looks
//!    for them at intervals.
//! 4. A message is in its queue or claimed at every instant, whatever fails. How a claim is found
//!    again is the link's own affair: [`Link::Claim`] is any type.
//!
//! The transport on folders, `amqp_broker::filesystem`, is the smallest complete one. This one
//! keeps messages in memory, and has no exchanges:
//!
//! ```
//! use std::{
//!     collections::{HashMap, VecDeque},
//!     sync::{Arc, Mutex},
//! };
//!
//! use amqp_broker::{Broker, backend::*};
//!
//! type Queues = HashMap<String, VecDeque<Message>>;
//!
//! #[derive(Clone, Default)]
//! struct Memory {
//!     queues: Arc<Mutex<Queues>>,
//!     /// Whoever may wait for messages.
//!     links: Arc<Mutex<Vec<Wakes>>>,
//! }
//!
//! impl Backend for Memory {
//!     type Link = Memory;
//!
//!     async fn open(&self, wakes: Wakes) -> Result<Memory, BackendError> {
//!         self.links.lock().unwrap().push(wakes);
//!         Ok(self.clone())
//!     }
//! }
//!
//! fn no_exchanges() -> BackendError {
//!     BackendError::NotImplemented("exchanges are not served in memory".to_owned())
//! }
//!
//! impl Memory {
//!     /// Wakes all links, also those that do not watch the queue: for them it means nothing.
//!     fn wake(&self, queue: &str) {
//!         self.links.lock().unwrap().iter().for_each(|link| link.wake(queue));
//!     }
//! }
//!
//! impl Link for Memory {
//!     /// The queue and the message.
//!     type Claim = (String, Message);
//!
//!     async fn declare_exchange(&mut self, _: &ExchangeDeclaration) -> Result<(), BackendError> {
//!         Err(no_exchanges())
//!     }
//!     async fn find_exchange(&mut self, _: &str) -> Result<(), BackendError> {
//!         Err(no_exchanges())
//!     }
//!     async fn delete_exchange(&mut self, _: &str, _: bool) -> Result<(), BackendError> {
//!         Err(no_exchanges())
//!     }
//!     async fn bind(&mut self, _: &Binding) -> Result<(), BackendError> {
//!         Err(no_exchanges())
//!     }
//!     async fn unbind(&mut self, _: &Binding) -> Result<(), BackendError> {
//!         Err(no_exchanges())
//!     }
//!
//!     async fn declare_queue(&mut self, queue: &QueueDeclaration) -> Result<u32, BackendError> {
//!         Ok(self.queues.lock().unwrap().entry(queue.name.clone()).or_default().len() as u32)
//!     }
//!     async fn find_queue(&mut self, name: &str) -> Result<u32, BackendError> {
//!         let queues = self.queues.lock().unwrap();
//!         let queue = queues.get(name).map(|queue| queue.len() as u32);
//!         queue.ok_or_else(|| BackendError::NotFound(format!("no queue '{name}'")))
//!     }
//!     async fn delete_queue(&mut self, name: &str) -> Result<u32, BackendError> {
//!         Ok(self.queues.lock().unwrap().remove(name).map_or(0, |queue| queue.len() as u32))
//!     }
//!     async fn leave_queue(&mut self, _: &str) -> Result<(), BackendError> {
//!         Ok(())
//!     }
//!     async fn purge_queue(&mut self, name: &str) -> Result<u32, BackendError> {
//!         let mut queues = self.queues.lock().unwrap();
//!         Ok(queues.get_mut(name).map_or(0, |queue| queue.drain(..).count() as u32))
//!     }
//!
//!     async fn publish(&mut self, messages: &[Message]) -> Result<Vec<Published>, BackendError> {
//!         let mut published = Vec::new();
//!         for message in messages {
//!             let key = message.routing_key.to_text();
//!             published.push(match self.queues.lock().unwrap().get_mut(&*key) {
//!                 _ if !message.exchange.is_empty() => Published::Refused(no_exchanges()),
//!                 None => Published::Unroutable,
//!                 Some(queue) => {
//!                     queue.push_back(message.clone());
//!                     Published::Routed
//!                 }
//!             });
//!             self.wake(&key);
//!             if matches!(published.last(), Some(Published::Refused(_))) {
//!                 break;
//!             }
//!         }
//!         Ok(published)
//!     }
//!
//!     async fn watch(&mut self, queue: &str) -> Result<(), BackendError> {
//!         self.find_queue(queue).await?;
//!         self.wake(queue);
//!         Ok(())
//!     }
//!     async fn unwatch(&mut self, _: &str) -> Result<(), BackendError> {
//!         Ok(())
//!     }
//!
//!     async fn claim(
//!         &mut self,
//!         sources: &[Source<'_>],
//!     ) -> Result<Vec<Claimed<Self::Claim>>, BackendError> {
//!         let (mut queues, mut claimed) = (self.queues.lock().unwrap(), Vec::new());
//!         for (index, source) in sources.iter().enumerate() {
//!             let Some(queue) = queues.get_mut(source.queue) else { continue };
//!             for message in queue.drain(..source.most.min(queue.len())) {
//!                 let kept = (source.queue.to_owned(), message.clone());
//!                 let claim = (!source.no_ack).then_some(kept);
//!                 claimed.push(Claimed { source: index, message, redelivered: false, claim });
//!             }
//!         }
//!         Ok(claimed)
//!     }
//!     async fn settle(
//!         &mut self,
//!         claims: Vec<(Self::Claim, Settlement)>,
//!     ) -> Result<usize, BackendError> {
//!         for ((queue, message), settlement) in claims {
//!             if settlement == Settlement::Requeue {
//!                 let mut queues = self.queues.lock().unwrap();
//!                 queues.entry(queue.clone()).or_default().push_front(message);
//!                 self.wake(&queue);
//!             }
//!         }
//!         Ok(0)
//!     }
//!
//!     async fn close(self) {}
//! }
//!
//! let broker = Broker::builder().backend("/", Memory::default()).build();
//! # drop(broker);
//! ```

mod backend_error;
mod bindings;
mod entities;
mod message;
mod queue_order;
mod traits;
mod unsupported;
mod wakes;

pub(crate) use self::wakes::News;
pub use self::{
    backend_error::BackendError,
    bindings::{Binding, topic_matches},
    entities::{ExchangeDeclaration, ExchangeKind, QueueDeclaration},
    message::{Claimed, Message, Published, Settlement, Source},
    queue_order::QueueOrder,
    traits::{Backend, Link},
    unsupported::{UnsupportedScheme, unsupported_scheme},
    wakes::Wakes,
};
