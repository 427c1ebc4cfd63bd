//! A channel: its handle, and the operations of the protocol on it.

use std::{borrow::Borrow, fmt, sync::Arc, time::Duration};

use amqp_codec::{
    Arguments, Request,
    method::{basic, channel, confirm, exchange, queue, tx},
};

use tokio::time::timeout;

use crate::{
    consume_options::{ConsumeOptions, DEFAULT_PREFETCH},
    consumer::Consumer,
    delivery::Delivery,
    error::{Error, Result},
    message::Message,
    options::{delete::DeleteOptions, get::GetOptions, route::Route},
    proto::{
        calls::{CallId, Reply},
        channel_ref::ChannelRef,
        connection::Engine,
        consuming::subscription::{Place, Subscription},
        expects::Expects,
        publishing::publish::PublishMode,
    },
    publisher::{Patience, Publisher, publish},
    runtime::{
        handles::{ChannelHandle, drain},
        shared::now,
    },
    topology::{
        Binding,
        declare::{Bind, Declare, Unbind, short},
    },
};

/// A channel of a connection. All handles share it; cloning is cheap.
///
/// Many tasks may make calls at once: the calls are pipelined, and each gets its own answer. Each
/// operation has one method: see [the table of them](crate#operations).
///
/// # Errors
/// Once the channel has ended, every method fails with the reason. When the broker refuses an
/// operation, it ends the channel, while other channels go on; when it considers an operation a
/// breach of the protocol, it ends the connection. Names and tables over a limit of the protocol
/// are refused with [`Error::Invalid`] before anything is sent, which leaves the channel intact. A
/// call that is not answered in time fails with [`Error::CallTimeout`] and leaves the channel
/// usable.
///
/// # Cancel safety
/// Every method's future can be dropped at any time. The broker may still do what was asked; its
/// answer is discarded, and the channel stays usable.
///
/// # On drop
/// The channel is closed in the background when its last handle is dropped; publishers, consumers
/// and deliveries count as handles. Deliveries that were not acked go back to their queue.
#[derive(Clone)]
pub struct Channel {
    handle: Arc<ChannelHandle>,
    call_timeout: Duration,
}

impl Channel {
    pub(crate) fn new(handle: Arc<ChannelHandle>) -> Self {
        let call_timeout = handle.connection.call_timeout;
        Channel { handle, call_timeout }
    }

    /// Returns the channel's number.
    pub fn id(&self) -> u16 {
        self.handle.key.id
    }

    /// Opens another channel of the same connection.
    ///
    /// # Errors
    /// The same as for [`Connection::open_channel`](crate::Connection::open_channel).
    pub async fn open_another(&self) -> Result<Channel> {
        let channel = self.handle.connection.open_channel().await?;
        Ok(Channel { handle: Arc::new(channel), call_timeout: self.call_timeout })
    }

    /// Returns another handle of this channel, with this deadline for the calls that it makes.
    pub fn with_call_timeout(&self, deadline: Duration) -> Self {
        Channel { handle: self.handle.clone(), call_timeout: deadline }
    }

    /// Creates an exchange or queue unless it exists as described. A value can also ask for
    /// something else: see [`Queue::passive`](crate::Queue::passive) and
    /// [`Queue::no_wait`](crate::Queue::no_wait).
    ///
    /// # Errors
    /// 406 when it exists with other properties, 403 for reserved names; [`Error::QueueTaken`]
    /// (405) when another connection holds the queue; 404 for a passive declaration of something
    /// that does not exist; [`Error::UnnamedQueue`] for a queue without a name that is declared
    /// with [`no_wait`](crate::Queue::no_wait).
    pub async fn declare<D: Declare>(&self, entity: D) -> Result<D::Info> {
        let request = entity.request()?;
        if entity.is_no_wait() {
            self.send_no_wait(request).await?;
            return Ok(entity.info(None));
        }
        match self.call(request).await {
            Ok(reply) => Ok(entity.info(Some(reply))),
            Err(error) => Err(about(&entity, error)),
        }
    }

    /// Binds a queue or an exchange to an exchange. Exchange-to-exchange bindings are an extension
    /// of RabbitMQ.
    ///
    /// # Errors
    /// 404 when either does not exist.
    pub async fn bind(&self, binding: impl Borrow<Binding>) -> Result<()> {
        match binding.borrow().request()? {
            Bind::Queue(bind) => self.call(bind).await.map(drop),
            Bind::Exchange(bind) => self.call(bind).await.map(drop),
        }
    }

    /// Removes the binding that equals this one, arguments included. It is no error if there is
    /// none.
    ///
    /// # Errors
    /// The reason, once the channel has ended.
    pub async fn unbind(&self, binding: impl Borrow<Binding>) -> Result<()> {
        match binding.borrow().removal()? {
            Unbind::Queue(unbind) => self.call(unbind).await.map(drop),
            Unbind::Exchange(unbind) => self.call(unbind).await.map(drop),
        }
    }

    /// Deletes a queue with its messages, and returns how many messages were dropped. It is no
    /// error if the queue does not exist.
    ///
    /// # Errors
    /// 406 when a condition does not hold, 405 when another connection holds the queue.
    pub async fn delete_queue(
        &self,
        queue: &(impl AsRef<str> + ?Sized),
        options: DeleteOptions,
    ) -> Result<u32> {
        let delete = queue::Delete {
            queue: short("queue", queue.as_ref())?,
            if_unused: options.if_unused,
            if_empty: options.if_empty,
            ..Default::default()
        };
        self.call(delete).await.map(|ok| ok.message_count)
    }

    /// Deletes an exchange. It is no error if the exchange does not exist.
    /// [`DeleteOptions::if_empty`] has no effect on exchanges.
    ///
    /// # Errors
    /// 406 when a condition does not hold, 403 for the broker's own exchanges.
    pub async fn delete_exchange(
        &self,
        exchange: &(impl AsRef<str> + ?Sized),
        options: DeleteOptions,
    ) -> Result<()> {
        let delete = exchange::Delete {
            exchange: short("exchange", exchange.as_ref())?,
            if_unused: options.if_unused,
            ..Default::default()
        };
        self.call(delete).await.map(drop)
    }

    /// Drops a queue's ready messages, and returns how many there were.
    ///
    /// # Errors
    /// 404 when the queue does not exist.
    pub async fn purge(&self, queue: &(impl AsRef<str> + ?Sized)) -> Result<u32> {
        let purge = queue::Purge { queue: short("queue", queue.as_ref())?, ..Default::default() };
        self.call(purge).await.map(|ok| ok.message_count)
    }

    /// Limits the unacknowledged deliveries of the channel as a whole; 0 is no limit. Each
    /// consumer's own limit is set with [`ConsumeOptions::prefetch`].
    ///
    /// # Errors
    /// The reason, once the channel has ended.
    pub async fn qos(&self, prefetch: u16) -> Result<()> {
        // If the channel has ended, the call below says so.
        let _ = self.handle.with_channel(|mut channel| channel.limit_ack_batch(prefetch));
        let qos = basic::Qos { prefetch_count: prefetch, global: true, ..Default::default() };
        self.call(qos).await.map(drop)
    }

    /// Publishes without asking for a confirm. The future is ready when the message is queued to be
    /// sent; it waits while the write buffer is full or the broker blocks.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a name or the properties are over a limit of the protocol,
    /// [`Error::PublishTooLarge`] for a body over
    /// [`max_message_size`](crate::ConnectOptions::max_message_size); or the reason, once the
    /// channel has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, the message was not queued.
    pub fn publish<'a>(
        &'a self,
        route: impl Into<Route<'a>>,
        message: impl Borrow<Message>,
    ) -> impl Future<Output = Result<()>> {
        let route = route.into();
        async move {
            let (mode, patience) = (PublishMode::Unconfirmed, Patience::default());
            publish(&self.handle, route, message.borrow(), mode, patience).await.map(drop)
        }
    }

    /// Puts the channel in confirm mode and returns a handle to publish with. Publishers of one
    /// channel share its order and its window of unconfirmed publishes.
    ///
    /// # Errors
    /// 406 for a channel in transaction mode.
    pub async fn publisher(&self) -> Result<Publisher> {
        let select = confirm::Select { no_wait: false };
        let send = |mut channel: ChannelRef<'_>| channel.call(select.into(), Expects::ConfirmSelect);
        self.request(confirm::Select::NAME, send).await?;
        Ok(Publisher::new(self.handle.clone()))
    }

    /// Starts a consumer of a queue.
    ///
    /// # Errors
    /// 404 when the queue does not exist; [`Error::QueueTaken`] when another consumer has it
    /// exclusively (403), or another connection (405).
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
        let place = options.resume_stream.then(Arc::<Place>::default);
        let subscription =
            Subscription { consume, prefetch, place: place.clone(), withhold_over: options.withhold_over };
        let consuming = self.handle.consume(subscription, self.call_timeout).await;
        let inbox = consuming.map_err(|error| error.about_queue(queue.as_ref()))?;
        Ok(Consumer::new(self.handle.clone(), tag, inbox, options.resubscribe, place))
    }

    /// Takes one message from a queue; returns `None` when the queue is empty.
    ///
    /// # Errors
    /// 404 when the queue does not exist.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, a message that still arrives is requeued; with
    /// [`GetOptions::no_ack`] it is lost.
    pub async fn get(
        &self,
        queue: &(impl AsRef<str> + ?Sized),
        options: GetOptions,
    ) -> Result<Option<Delivery>> {
        let no_ack = options.no_ack;
        let get = basic::Get { queue: short("queue", queue.as_ref())?, no_ack, ..Default::default() };
        let send = |mut channel: ChannelRef<'_>| channel.call(get.into(), Expects::Get { no_ack });
        match self.request(basic::Get::NAME, send).await? {
            Reply::Got(raw, remaining) => Ok(Some(Delivery::got(self.handle.clone(), *raw, remaining))),
            Reply::Method(_) | Reply::Resumed => Ok(None),
        }
    }

    /// Requeues all unsettled deliveries of the channel. They are delivered again, flagged as
    /// redelivered. Acking the earlier delivery of such a message does nothing.
    ///
    /// # Errors
    /// The reason, once the channel has ended.
    pub async fn recover(&self) -> Result<()> {
        let recover = basic::Recover { requeue: true };
        let send = |mut channel: ChannelRef<'_>| channel.call(recover.into(), Expects::Recover);
        self.request(basic::Recover::NAME, send).await.map(drop)
    }

    /// Puts the channel in transaction mode: publishes and acks take effect only with
    /// [`tx_commit`](Self::tx_commit).
    ///
    /// # Errors
    /// 406 for a channel in confirm mode.
    pub async fn tx_select(&self) -> Result<()> {
        self.transaction(tx::Select {}).await
    }

    /// Commits the publishes and acks made since the last commit.
    ///
    /// # Errors
    /// 406 without [`tx_select`](Self::tx_select); [`Error::TransactionLost`] when the connection
    /// was lost and recovered since the last commit: the loss undid a part of the transaction, so
    /// the rest is rolled back.
    pub async fn tx_commit(&self) -> Result<()> {
        if self.handle.send(|channel| Ok(channel.has_lost_transaction())).await? {
            self.tx_rollback().await?;
            return Err(Error::TransactionLost { channel: self.id() });
        }
        self.transaction(tx::Commit {}).await
    }

    /// Rolls back the publishes and acks made since the last commit.
    ///
    /// # Errors
    /// 406 without [`tx_select`](Self::tx_select).
    pub async fn tx_rollback(&self) -> Result<()> {
        self.transaction(tx::Rollback {}).await
    }

    /// Asks the broker to stop or resume its deliveries. RabbitMQ does not support stopping and
    /// ends the connection with 540: use a prefetch there.
    ///
    /// # Errors
    /// The reason, once the channel has ended.
    pub async fn flow(&self, active: bool) -> Result<bool> {
        self.call(channel::Flow { active }).await.map(|ok| ok.active)
    }

    /// Ends the channel gracefully: cancels its consumers, waits until their deliveries are
    /// settled and all publishes are confirmed, then closes the channel. Consumers still hand out
    /// the deliveries that had arrived, then end.
    ///
    /// # Errors
    /// [`Error::DrainTimeout`] when the deadline passes first: the channel is closed nevertheless.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, the consumers are cancelled and the channel stays
    /// open.
    pub async fn drain(&self, deadline: Duration) -> Result<()> {
        let drained = drain(&self.handle.connection.shared, &[self.handle.key], deadline).await;
        self.close().await.and(drained)
    }

    /// Returns how long the oldest unsettled delivery has been held; `None` when all are settled.
    pub fn oldest_unacked(&self) -> Option<Duration> {
        let arrived = self.handle.with_channel(|channel| channel.acks.oldest()).ok().flatten()?;
        Some(now().saturating_duration_since(arrived))
    }

    /// Closes the channel and waits until the broker has agreed. Deliveries that were not acked go
    /// back to their queue.
    ///
    /// # Errors
    /// The reason why the channel ended, unless this side closed it.
    pub async fn close(&self) -> Result<()> {
        match self.handle.with(Engine::close_channel) {
            Some(call) => self.handle.wait(channel::Close::NAME, call, self.call_timeout).await.map(drop),
            None => match self.handle.ended().await {
                Error::ChannelEnded { .. } | Error::ConnectionEnded => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Waits for the channel's end and returns the reason.
    ///
    /// # Cancel safety
    /// The future can be dropped, and the method called again.
    pub async fn closed(&self) -> Error {
        self.handle.ended().await
    }

    /// Tells whether the channel can be used at this moment. While it is being
    /// [recovered](crate::Recovery) it cannot, and calls and publishes wait; see
    /// [`is_closed`](Self::is_closed).
    pub fn is_open(&self) -> bool {
        self.handle.with_channel(|channel| channel.is_open()).unwrap_or(false)
    }

    /// Tells whether the channel has ended for good, or is being closed by this side. A channel
    /// that is being recovered is neither closed nor [open](Self::is_open).
    pub fn is_closed(&self) -> bool {
        self.handle.with_channel(|channel| channel.is_closing()).unwrap_or(true)
    }

    async fn call<R: Request>(&self, request: R) -> Result<R::Reply> {
        self.handle.call(request, self.call_timeout).await
    }

    /// Sends a method that is not answered, once the channel can be used.
    async fn send_no_wait<R: Request>(&self, request: R) -> Result<()> {
        let sending = self.handle.send(|mut channel| channel.send_no_wait(request.into()));
        let late = Error::CallTimeout { method: R::NAME, after: self.call_timeout };
        timeout(self.call_timeout, sending).await.unwrap_or(Err(late))
    }

    async fn transaction<R: Request>(&self, request: R) -> Result<()> {
        let expects = Expects::transaction::<R>();
        self.request(R::NAME, |mut channel| channel.call(request.into(), expects)).await.map(drop)
    }

    /// Sends a method and waits for its answer.
    async fn request(
        &self,
        name: &'static str,
        send: impl FnOnce(ChannelRef<'_>) -> Result<CallId>,
    ) -> Result<Reply> {
        self.handle.request(name, self.call_timeout, send).await
    }
}

/// Adds the queue's name to the error, if a queue was to be declared.
fn about<D: Declare>(entity: &D, error: Error) -> Error {
    match entity.queue() {
        Some(queue) => error.about_queue(queue),
        None => error,
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("id", &self.id()).field("is_open", &self.is_open()).finish()
    }
}
