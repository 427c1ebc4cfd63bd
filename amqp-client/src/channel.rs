//! A channel: declarations, publishing, consuming, in the order of the calls.

use std::sync::Arc;

use amqp_codec::{
    Arguments, ShortString,
    method::{basic, confirm, exchange, queue},
};

use crate::{
    consume_options::{ConsumeOptions, DEFAULT_PREFETCH},
    consumer::Consumer,
    delivery::Delivery,
    error::{Error, Result},
    message::Message,
    proto::{calls::Reply, channel::Expects, connection::Engine, inbox::Inbox, publish::Route},
    publisher::{Publisher, publish},
    shared::ChannelHandle,
    topology::{Exchange, Queue, QueueInfo},
};

/// A channel of a connection. All handles share it; cloning is cheap.
///
/// Calls may be made by many tasks at once: they are pipelined, and answered in their order.
///
/// # Cancel safety
/// Every method's future can be dropped at any time. The broker may still do what was asked; the answer goes to nobody and
/// the channel stays in step.
///
/// # On drop
/// When the last handle is dropped, publishers, consumers and deliveries among them, the channel is closed in the background.
/// Deliveries that were not acked go back to their queue.
#[derive(Clone)]
pub struct Channel {
    handle: Arc<ChannelHandle>,
}

/// A value that can be declared on a channel: [`Exchange`] or [`Queue`].
pub trait Declare {
    /// What the broker tells of it.
    type Info;

    #[doc(hidden)]
    fn declare(&self, channel: &Channel, passive: bool) -> impl Future<Output = Result<Self::Info>> + Send;
}

impl Channel {
    pub(crate) fn new(handle: Arc<ChannelHandle>) -> Self {
        Channel { handle }
    }

    /// The channel's number.
    pub fn id(&self) -> u16 {
        self.handle.key.id
    }

    /// Creates an exchange or queue unless it exists as described.
    ///
    /// # Errors
    /// 406 when it exists otherwise, 403 for reserved names, 405 when another connection holds the queue: the channel is
    /// closed then.
    pub async fn declare<D: Declare>(&self, entity: &D) -> Result<D::Info> {
        entity.declare(self, false).await
    }

    /// Checks that an exchange or queue exists; creates nothing.
    ///
    /// # Errors
    /// 404 when it does not: the channel is closed then.
    pub async fn declare_passive<D: Declare>(&self, entity: &D) -> Result<D::Info> {
        entity.declare(self, true).await
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// 404 when either does not exist: the channel is closed then.
    pub async fn bind(
        &self,
        queue: &(impl AsRef<str> + ?Sized),
        exchange: &(impl AsRef<str> + ?Sized),
        routing_key: &str,
    ) -> Result<()> {
        let bind = queue::Bind {
            queue: short("queue", queue.as_ref())?,
            exchange: short("exchange", exchange.as_ref())?,
            routing_key: short("routing_key", routing_key)?,
            ..Default::default()
        };
        self.handle.call(bind).await.map(drop)
    }

    /// Removes a binding; one that does not exist is no error.
    ///
    /// # Errors
    /// Why the channel ended.
    pub async fn unbind(
        &self,
        queue: &(impl AsRef<str> + ?Sized),
        exchange: &(impl AsRef<str> + ?Sized),
        routing_key: &str,
    ) -> Result<()> {
        let unbind = queue::Unbind {
            queue: short("queue", queue.as_ref())?,
            exchange: short("exchange", exchange.as_ref())?,
            routing_key: short("routing_key", routing_key)?,
            ..Default::default()
        };
        self.handle.call(unbind).await.map(drop)
    }

    /// RabbitMQ: binds an exchange to a source exchange.
    ///
    /// # Errors
    /// 404 when either does not exist: the channel is closed then.
    pub async fn bind_exchange(
        &self,
        destination: &(impl AsRef<str> + ?Sized),
        source: &(impl AsRef<str> + ?Sized),
        routing_key: &str,
    ) -> Result<()> {
        let bind = exchange::Bind {
            destination: short("destination", destination.as_ref())?,
            source: short("source", source.as_ref())?,
            routing_key: short("routing_key", routing_key)?,
            ..Default::default()
        };
        self.handle.call(bind).await.map(drop)
    }

    /// Deletes a queue with its messages; one that does not exist is no error. Returns how many messages were dropped.
    ///
    /// # Errors
    /// 405 when another connection holds it: the channel is closed then.
    pub async fn delete_queue(&self, queue: &(impl AsRef<str> + ?Sized)) -> Result<u32> {
        let delete = queue::Delete { queue: short("queue", queue.as_ref())?, ..Default::default() };
        self.handle.call(delete).await.map(|ok| ok.message_count)
    }

    /// Deletes an exchange; one that does not exist is no error.
    ///
    /// # Errors
    /// 403 for the broker's own exchanges: the channel is closed then.
    pub async fn delete_exchange(&self, exchange: &(impl AsRef<str> + ?Sized)) -> Result<()> {
        let delete =
            exchange::Delete { exchange: short("exchange", exchange.as_ref())?, ..Default::default() };
        self.handle.call(delete).await.map(drop)
    }

    /// Drops a queue's ready messages. Returns how many.
    ///
    /// # Errors
    /// 404 when it does not exist: the channel is closed then.
    pub async fn purge(&self, queue: &(impl AsRef<str> + ?Sized)) -> Result<u32> {
        let purge = queue::Purge { queue: short("queue", queue.as_ref())?, ..Default::default() };
        self.handle.call(purge).await.map(|ok| ok.message_count)
    }

    /// Limits the unacknowledged deliveries of the channel as a whole; 0 is no limit. Each consumer's own limit is set
    /// with [`ConsumeOptions::prefetch`].
    ///
    /// # Errors
    /// Why the channel ended.
    pub async fn qos(&self, prefetch: u16) -> Result<()> {
        self.handle.with(|engine, key| engine.limit_ack_batch(key, prefetch));
        self.handle
            .call(basic::Qos { prefetch_count: prefetch, global: true, ..Default::default() })
            .await
            .map(drop)
    }

    /// Publishes without asking for a confirm: ready when the message is queued to be sent. Waits while the write buffer is
    /// full or the broker blocks.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a name or the properties are over a limit, which leaves the channel intact; or why the
    /// channel ended.
    ///
    /// # Cancel safety
    /// Dropped while pending, the message was not queued.
    pub async fn publish(
        &self,
        exchange: &(impl AsRef<str> + ?Sized),
        routing_key: &str,
        message: &Message,
    ) -> Result<()> {
        let route = Route { exchange: exchange.as_ref(), routing_key, mandatory: false };
        publish(&self.handle, route, message, false).await.map(drop)
    }

    /// Puts the channel in confirm mode and returns a handle to publish with. Publishers of one channel share its order and
    /// its window of unconfirmed publishes.
    ///
    /// # Errors
    /// Why the channel ended.
    pub async fn publisher(&self) -> Result<Publisher> {
        let select = confirm::Select { no_wait: false };
        let name = confirm::Select::NAME;
        self.handle.call_expecting(select.into(), name, Expects::ConfirmSelect).await?;
        Ok(Publisher::new(self.handle.clone()))
    }

    /// Starts a consumer of a queue.
    ///
    /// # Errors
    /// 404 when the queue does not exist, 403 when another consumer has it exclusively: the channel is closed then.
    pub async fn consume(
        &self,
        queue: &(impl AsRef<str> + ?Sized),
        options: ConsumeOptions,
    ) -> Result<Consumer> {
        let prefetch = options.prefetch.unwrap_or(DEFAULT_PREFETCH);
        let tag = match options.tag.as_str() {
            "" => self.handle.connection.new_consumer_tag(),
            tag => tag.to_owned(),
        };
        let tag = short("consumer_tag", &tag)?;
        let consume = basic::Consume {
            queue: short("queue", queue.as_ref())?,
            consumer_tag: tag.clone(),
            no_ack: options.no_ack,
            exclusive: options.exclusive,
            arguments: options.arguments,
            ..Default::default()
        };
        let no_ack = options.no_ack;
        let qos = basic::Qos { prefetch_count: prefetch, ..Default::default() };
        // Both leave together: no other consumer of the channel can come between limit and consumer.
        let (qos, consume, inbox) = self
            .handle
            .with(|engine, key| {
                let unbounded = no_ack || prefetch == 0;
                let inbox = Arc::new(Inbox::new(unbounded.then(|| engine.backlog())));
                engine.limit_ack_batch(key, prefetch);
                let qos = engine.call(key, qos.into(), Expects::reply_to::<basic::Qos>())?;
                let expects = Expects::Consume { tag: tag.clone(), inbox: inbox.clone(), no_ack };
                let consume = engine.call(key, consume.into(), expects)?;
                Ok((qos, consume, inbox))
            })
            .map_err(|error| self.handle.explain(error))?;
        let consume = self.handle.wait(basic::Consume::NAME, consume);
        self.handle.wait(basic::Qos::NAME, qos).await?;
        consume.await?;
        Ok(Consumer::new(self.handle.clone(), tag, inbox))
    }

    /// Takes one message from a queue; `None` when it is empty.
    ///
    /// # Errors
    /// 404 when the queue does not exist: the channel is closed then.
    ///
    /// # Cancel safety
    /// Dropped while pending, a message that still comes goes back to the queue.
    pub async fn get(&self, queue: &(impl AsRef<str> + ?Sized)) -> Result<Option<Delivery>> {
        let get = basic::Get { queue: short("queue", queue.as_ref())?, ..Default::default() };
        let expects = Expects::Get { no_ack: false };
        match self.handle.call_expecting(get.into(), basic::Get::NAME, expects).await? {
            Reply::Got(raw, remaining) => Ok(Some(Delivery::got(self.handle.clone(), *raw, remaining))),
            Reply::Method(_) => Ok(None),
        }
    }

    /// Closes the channel and waits until the broker has agreed. Deliveries that were not acked go back to their queue.
    ///
    /// # Errors
    /// Why the channel ended, when it was not by this side.
    pub async fn close(&self) -> Result<()> {
        match self.handle.with(Engine::close_channel) {
            Some(call) => self.handle.wait("channel.close", call).await.map(drop),
            None => match self.handle.ended().await {
                Error::ChannelEnded { .. } | Error::ConnectionEnded => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Waits for the channel's end and tells its reason.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn closed(&self) -> Error {
        self.handle.ended().await
    }

    /// Whether the channel can be used.
    pub fn is_open(&self) -> bool {
        self.handle.status.ended.get().is_none()
    }
}

impl Declare for Exchange {
    type Info = ();

    async fn declare(&self, channel: &Channel, passive: bool) -> Result<()> {
        let declare = exchange::Declare {
            exchange: short("exchange", &self.name)?,
            kind: short("exchange type", &self.kind)?,
            passive,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.clone(),
            ..Default::default()
        };
        channel.handle.call(declare).await.map(drop)
    }
}

impl Declare for Queue {
    type Info = QueueInfo;

    async fn declare(&self, channel: &Channel, passive: bool) -> Result<QueueInfo> {
        let declare = queue::Declare {
            queue: short("queue", &self.name)?,
            passive,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            arguments: self.arguments.clone(),
            ..Default::default()
        };
        let ok = channel.handle.call(declare).await?;
        Ok(QueueInfo { name: ok.queue.to_string(), messages: ok.message_count, consumers: ok.consumer_count })
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("id", &self.id()).field("is_open", &self.is_open()).finish()
    }
}

fn short(what: &'static str, text: &str) -> Result<ShortString> {
    ShortString::new(what, text).map_err(Error::Invalid)
}
