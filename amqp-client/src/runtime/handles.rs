//! The handles that own a connection and a channel together.

use std::{future::Future, sync::Arc, time::Duration};

use amqp_codec::{
    Arguments as _, Method, Request,
    method::{basic, channel},
};

use crate::{
    error::{Error, Result},
    proto::{
        calls::{CallId, Reply},
        channel_ref::ChannelRef,
        connection::{ChannelKey, Engine, wait::WaitFor},
        consuming::{inbox::Inbox, subscription::Subscription},
        expects::Expects,
        status::ChannelStatus,
    },
    runtime::{
        shared::{Shared, now},
        waiting::Answer,
    },
    sync::atomic::{AtomicU64, Ordering},
};

/// A function that sends the open of a channel.
type OpenChannel = fn(&mut Engine) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)>;

/// The part of a connection that all its handles own. Dropping it closes the connection.
pub(crate) struct ConnectionHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) call_timeout: Duration,
    consumers: AtomicU64,
}

impl ConnectionHandle {
    pub(crate) fn new(shared: Arc<Shared>, call_timeout: Duration) -> Self {
        ConnectionHandle { shared, call_timeout, consumers: AtomicU64::new(0) }
    }

    /// Opens a channel as soon as the connection can be used.
    pub(crate) async fn open_channel(self: &Arc<Self>) -> Result<ChannelHandle> {
        self.open(Engine::open_channel).await
    }

    /// Opens a channel that is not reopened when the broker closes it for an error.
    pub(crate) async fn open_temporary_channel(self: &Arc<Self>) -> Result<ChannelHandle> {
        self.open(Engine::open_temporary_channel).await
    }

    async fn open(self: &Arc<Self>, open: OpenChannel) -> Result<ChannelHandle> {
        let after = self.call_timeout;
        let late = Error::CallTimeout { method: channel::Open::NAME, after };
        let beginning = self.begin_channel(open);
        let (channel, call) = tokio::time::timeout(after, beginning).await.unwrap_or(Err(late))?;
        channel.wait(channel::Open::NAME, call, after).await?;
        self.shared.trace.channel_opened(channel.key.id);
        Ok(channel)
    }

    async fn begin_channel(self: &Arc<Self>, open: OpenChannel) -> Result<(ChannelHandle, CallId)> {
        loop {
            match self.shared.with(open) {
                Err(Error::Recovering) => self.shared.usable(None).await,
                Err(error) => return Err(error),
                Ok((key, status, call)) => {
                    return Ok((ChannelHandle { connection: self.clone(), key, status }, call));
                }
            }
        }
    }

    /// Makes a consumer tag, so that an answer can be matched with its consumer.
    pub(crate) fn new_consumer_tag(&self) -> String {
        format!("ctag-{}", self.consumers.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        let now = now();
        self.shared.with(|engine| engine.close(now));
    }
}

/// The part of a channel that all its handles own, its deliveries among them. Dropping it closes
/// the channel.
pub(crate) struct ChannelHandle {
    pub(crate) connection: Arc<ConnectionHandle>,
    pub(crate) key: ChannelKey,
    pub(crate) status: Arc<ChannelStatus>,
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        self.with(Engine::drop_channel);
    }
}

impl ChannelHandle {
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Engine, ChannelKey) -> R) -> R {
        self.connection.shared.with(|engine| work(engine, self.key))
    }

    /// Works on the channel.
    ///
    /// # Errors
    /// That the channel has ended, or why the connection has.
    #[inline]
    pub(crate) fn with_channel<R>(&self, work: impl FnOnce(ChannelRef<'_>) -> R) -> Result<R> {
        self.with(|engine, key| engine.channel(key).map(work))
    }

    /// Replaces the error that the channel has ended by the reason.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (&error, self.status.ended.get()) {
            (Error::ChannelEnded { .. }, Some(reason)) => reason.clone(),
            _ => error,
        }
    }

    /// Calls a method and waits for its answer.
    pub(crate) async fn call<R: Request>(&self, request: R, timeout: Duration) -> Result<R::Reply> {
        let expects = Expects::reply_to::<R>();
        let send = |mut channel: ChannelRef<'_>| channel.call(request.into(), expects);
        match self.request(R::NAME, timeout, send).await? {
            Reply::Method(method) => {
                R::Reply::try_from(method).map_err(|method| self.unexpected::<R>(&method))
            }
            Reply::Got(..) | Reply::Resumed => Err(self.status.reason()),
        }
    }

    /// Sends a method once the channel can be used, and waits for the answer, all within `after`.
    ///
    /// Dropping the future abandons the call: its answer is recognised when it arrives, and undone.
    pub(crate) async fn request(
        &self,
        name: &'static str,
        after: Duration,
        send: impl FnOnce(ChannelRef<'_>) -> Result<CallId>,
    ) -> Result<Reply> {
        let requesting = async {
            let call = self.send(send).await?;
            Answer::new(&self.connection.shared, Some(self.key), call).await
        };
        match tokio::time::timeout(after, requesting).await {
            Ok(result) => result.map_err(|error| self.explain(error)),
            Err(_) => Err(Error::CallTimeout { method: name, after }),
        }
    }

    /// Starts a consumer as soon as the channel can be used; returns the inbox of its deliveries.
    pub(crate) async fn consume(&self, subscription: Subscription, after: Duration) -> Result<Arc<Inbox>> {
        let mut inbox = None;
        let send = |mut channel: ChannelRef<'_>| {
            let (call, new) = channel.consume(subscription)?;
            inbox = Some(new);
            Ok(call)
        };
        self.request(basic::Consume::NAME, after, send).await?;
        // The inbox is there, because it was made with the call that has been answered.
        inbox.ok_or(Error::Recovering)
    }

    /// Works on the channel as soon as it can be used.
    pub(crate) async fn send<T>(&self, send: impl FnOnce(ChannelRef<'_>) -> Result<T>) -> Result<T> {
        let mut send = Some(send);
        loop {
            let sent = self.with(|engine, key| match engine.channel(key) {
                Ok(channel) if channel.is_recovering() => None,
                Ok(channel) => send.take().map(|send| send(channel)),
                Err(error) => Some(Err(error)),
            });
            match sent {
                Some(sent) => return sent.map_err(|error| self.explain(error)),
                None => self.connection.shared.usable(Some(self.key)).await,
            }
        }
    }

    /// Waits for the answer to a call that is under way.
    ///
    /// Dropping the future abandons the call: its answer is recognised when it arrives, and undone.
    pub(crate) fn wait(
        &self,
        name: &'static str,
        call: CallId,
        after: Duration,
    ) -> impl Future<Output = Result<Reply>> {
        // The answer is made here and not at the first poll, so that a future dropped before it
        // also abandons its call.
        let waiting = Answer::new(&self.connection.shared, Some(self.key), call);
        async move {
            match tokio::time::timeout(after, waiting).await {
                Ok(result) => result.map_err(|error| self.explain(error)),
                Err(_) => Err(Error::CallTimeout { method: name, after }),
            }
        }
    }

    /// Waits for the channel's end and returns the reason.
    pub(crate) async fn ended(&self) -> Error {
        let (shared, key) = (&self.connection.shared, self.key);
        let has_ended = |engine: &mut Engine| engine.channel(key).map_or(true, |channel| channel.has_ended());
        shared.wait_for(WaitFor::End(key), |engine| has_ended(engine).then_some(())).await;
        self.status.reason()
    }

    fn unexpected<R: Request>(&self, got: &Method) -> Error {
        use amqp_codec::Arguments;
        Error::UnexpectedMethod { channel: self.key.id, expected: R::Reply::NAME, got: got.name() }
    }
}

/// Cancels the consumers of these channels, then waits until deliveries are settled and publishes
/// confirmed.
///
/// # Errors
/// [`Error::DrainTimeout`] when the deadline passes first.
pub(crate) async fn drain(shared: &Shared, channels: &[ChannelKey], deadline: Duration) -> Result<()> {
    shared.with(|engine| {
        for &key in channels {
            if let Ok(mut channel) = engine.channel(key) {
                channel.cancel_consumers();
            }
        }
    });
    let all = async {
        for &key in channels {
            let is_drained =
                |engine: &mut Engine| engine.channel(key).map_or(true, |channel| channel.is_drained());
            shared.wait_for(WaitFor::Settled(key), |engine| is_drained(engine).then_some(())).await;
        }
    };
    if tokio::time::timeout(deadline, all).await.is_ok() {
        return Ok(());
    }
    let (unacked, unconfirmed) = shared.with(|engine| unfinished(engine, channels));
    Err(Error::DrainTimeout { after: deadline, unacked, unconfirmed })
}

/// Returns how many deliveries are unsettled and how many publishes unconfirmed on these channels.
fn unfinished(engine: &mut Engine, channels: &[ChannelKey]) -> (usize, usize) {
    channels.iter().fold((0, 0), |(unacked, unconfirmed), &key| {
        let of_channel = engine.channel(key).map_or((0, 0), |channel| channel.unfinished());
        (unacked + of_channel.0, unconfirmed + of_channel.1)
    })
}
