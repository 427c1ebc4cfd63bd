//! Publishing with confirms.

use std::{
    borrow::Borrow,
    fmt,
    future::{Future, poll_fn},
    ops::{ControlFlow, Range},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use amqp_codec::{Properties, ReplyCode};
use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    error::{Error, Result},
    message::Message,
    options::route::Route,
    proto::{
        channel::Channel,
        channel_ref::ChannelRef,
        connection::{ChannelKey, Engine, wait::WaitFor},
        publishing::{
            confirms::{Confirms, Settled},
            publish::PublishMode,
            returns::RawReturn,
        },
    },
    runtime::{handles::ChannelHandle, waiting::Waiting},
};

/// Publishes on a channel in confirm mode. Cloning is cheap; clones share the channel's order and
/// window.
#[derive(Clone)]
pub struct Publisher {
    channel: Arc<ChannelHandle>,
    patience: Patience,
    mode: PublishMode,
}

/// What a publisher does while the broker accepts no publishes, because it is short of memory or
/// disk (`connection.blocked`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileBlocked {
    /// Waits until the broker accepts publishes again.
    #[default]
    Wait,
    /// Waits this long, then fails with [`Error::Blocked`].
    FailAfter(Duration),
    /// Fails with [`Error::Blocked`] at once.
    Fail,
}

/// How long a publish waits for room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    timeout: Option<Duration>,
    while_blocked: WhileBlocked,
}

/// The outcome of a published message.
#[derive(Debug)]
pub enum Confirmation {
    /// The broker has taken responsibility for the message.
    Ack,
    /// The broker could not accept the message.
    Nack,
    /// The message was mandatory and no queue took it: the broker returned it, and then confirmed
    /// it.
    Returned(Box<Returned>),
}

/// A message that the broker returned.
pub struct Returned {
    raw: RawReturn,
    /// The number of the channel that the message came back on, for errors.
    channel: u16,
}

impl Publisher {
    pub(crate) fn new(channel: Arc<ChannelHandle>) -> Self {
        Publisher { channel, patience: Patience::default(), mode: PublishMode::Confirmed }
    }

    /// Sets a deadline for each publish to find room; by default a publish waits without limit.
    /// When the deadline passes, the publish fails with [`Error::PublishTimeout`], or, if the
    /// broker blocks, with [`Error::Blocked`] and the reason. To limit the wait for the outcome,
    /// put a deadline around the [`Confirm`].
    pub fn with_timeout(mut self, deadline: Duration) -> Self {
        self.patience.timeout = Some(deadline);
        self
    }

    /// Sets what to do while the broker accepts no publishes; by default a publish waits.
    pub fn while_blocked(mut self, policy: WhileBlocked) -> Self {
        self.patience.while_blocked = policy;
        self
    }

    /// Sets whether publishes that were not confirmed when the connection was lost are repeated
    /// once it is [recovered](crate::Recovery), before any other publish and in their order.
    /// Messages are then published at least once, perhaps twice. So that the receiver can tell, a
    /// message without an id is given one, unless its properties are passed on as encoded bytes.
    /// Each message is kept until it is confirmed, which costs a few allocations. If the broker
    /// closed the channel or the connection with any code but 320, a publish may be the cause, so
    /// none is repeated. Default: nothing is repeated, and the [`Confirm`] resolves to
    /// [`Error::PublishLost`].
    pub fn republish(mut self, republish: bool) -> Self {
        self.mode = if republish { PublishMode::Republished } else { PublishMode::Confirmed };
        self
    }

    /// Publishes a message. The first `await` is for room: it is ready at once unless the write
    /// buffer or the window of unconfirmed publishes is full, or the broker blocks. The returned
    /// [`Confirm`] resolves to the outcome of the message.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a name or the properties are over a limit of the protocol,
    /// [`Error::PublishTooLarge`] for a body over
    /// [`max_message_size`](crate::ConnectOptions::max_message_size), which leave the channel
    /// intact; or the reason why the channel ended.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, the message was not queued.
    pub fn publish<'a>(
        &'a self,
        route: impl Into<Route<'a>>,
        message: impl Borrow<Message>,
    ) -> impl Future<Output = Result<Confirm>> {
        let route = route.into();
        async move { self.publish_confirmed(route, message.borrow()).await }
    }

    /// Publishes a message if there is room for it at once; otherwise, and while the broker blocks,
    /// returns `None`.
    ///
    /// ```
    /// # async fn run(publisher: amqp_client::Publisher) -> amqp_client::Result<()> {
    /// use amqp_client::Message;
    ///
    /// match publisher.try_publish(("", "samples"), Message::new("21.5"))? {
    ///     Some(confirm) => drop(confirm.await?),
    ///     None => println!("the broker is slow: the sample is left out"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn try_publish<'a>(
        &self,
        route: impl Into<Route<'a>>,
        message: impl Borrow<Message>,
    ) -> Result<Option<Confirm>> {
        let (route, message) = (route.into(), message.borrow());
        let identified = self.identified(message)?;
        let message = identified.as_deref().unwrap_or(message);
        let published = self.channel.with(|engine, key| try_publish(engine, key, route, message, self.mode));
        match published {
            Some(Ok(tag)) => Ok(Some(self.confirm(tag))),
            Some(Err(error)) => Err(self.channel.explain(error)),
            None => Ok(None),
        }
    }

    /// Waits until the broker has answered every publish made on the channel so far. The outcome of
    /// each is in its [`Confirm`].
    ///
    /// # Errors
    /// The reason why the channel ended before that; [`Error::PublishLost`] when publishes were
    /// lost meanwhile.
    ///
    /// # Cancel safety
    /// The future can be dropped, and the method called again.
    pub async fn flush(&self) -> Result<()> {
        let (tag, losses) =
            self.channel.with_channel(|channel| newest_and_losses(&channel)).unwrap_or_default();
        let status = &self.channel.status;
        let (shared, key) = (&self.channel.connection.shared, self.channel.key);
        let is_flushed = |engine: &mut Engine| match engine.channel(key).map(ChannelRef::into_channel) {
            Ok(Channel { confirms: Some(confirms), .. }) => confirms.is_settled_up_to(tag).then_some(true),
            _ => Some(tag == 0 || status.is_settled_up_to(tag)),
        };
        if !shared.wait_for(WaitFor::Confirms(key), is_flushed).await {
            return Err(status.reason());
        }
        if self.channel.with_channel(|channel| newest_and_losses(&channel)).unwrap_or_default().1 == losses {
            return Ok(());
        }
        Err(Error::PublishLost(Box::new(self.channel.with(|engine, _| engine.loss()))))
    }

    /// Returns the [tags](Confirm::tag) after the last one that the broker has answered, up to the
    /// last publish; once the channel has ended, as they were at its end.
    ///
    /// A broker processes the publishes of a channel in order. So if it closed the channel because
    /// of a publish, that publish is in this range. Earlier ones were processed, though not all of
    /// them may be confirmed.
    pub fn unanswered(&self) -> Range<u64> {
        let unanswered =
            self.channel.with_channel(|channel| channel.confirms.as_ref().map(Confirms::unanswered));
        unanswered.ok().flatten().unwrap_or_else(|| self.channel.status.unanswered())
    }

    /// Waits for the end of the publisher's channel and returns the reason.
    pub async fn closed(&self) -> Error {
        self.channel.ended().await
    }

    async fn publish_confirmed(&self, route: Route<'_>, message: &Message) -> Result<Confirm> {
        let identified = self.identified(message)?;
        let message = identified.as_deref().unwrap_or(message);
        let tag = publish(&self.channel, route, message, self.mode, self.patience).await?;
        Ok(self.confirm(tag))
    }

    /// Returns the message with an id, if it needs one and has none.
    #[inline]
    fn identified(&self, message: &Message) -> Result<Option<Box<Message>>> {
        match self.mode {
            PublishMode::Republished
                if message.properties().message_id.is_none() && message.encoded_properties().is_none() =>
            {
                let id = format!("{:032x}", fastrand::u128(..));
                Ok(Some(Box::new(message.clone().message_id(&id)?)))
            }
            _ => Ok(None),
        }
    }

    fn confirm(&self, tag: u64) -> Confirm {
        Confirm { channel: self.channel.clone(), tag, waits: false, done: false }
    }
}

/// Queues one publish as soon as there is room; returns its tag.
pub(crate) async fn publish(
    channel: &ChannelHandle,
    route: Route<'_>,
    message: &Message,
    mode: PublishMode,
    patience: Patience,
) -> Result<u64> {
    // Nearly always there is room, so neither a timer nor an entry among the waiters is made first.
    if let Some(published) = channel.with(|engine, key| try_publish(engine, key, route, message, mode)) {
        return published.map_err(|error| channel.explain(error));
    }
    let key = channel.key;
    let mut waiting = Waiting::new(&*channel.connection.shared);
    let publishing = poll_fn(|cx| {
        waiting.poll(cx, |engine| match try_publish(engine, key, route, message, mode) {
            Some(published) => ControlFlow::Break(published),
            None => match (patience.while_blocked, engine.blocked()) {
                (WhileBlocked::Fail, Some(reason)) => ControlFlow::Break(Err(Error::Blocked { reason })),
                _ => ControlFlow::Continue(engine.blocker_of_publish(key)),
            },
        })
    });
    patience.wait(channel, publishing).await.map_err(|error| channel.explain(error))
}

#[inline]
fn try_publish(
    engine: &mut Engine,
    key: ChannelKey,
    route: Route<'_>,
    message: &Message,
    mode: PublishMode,
) -> Option<Result<u64>> {
    match engine.channel(key) {
        Ok(mut channel) => channel.try_publish(route, message, mode),
        Err(error) => Some(Err(error)),
    }
}

/// Returns the tag of the channel's last publish in confirm mode, 0 when there was none, and how
/// often publishes were lost.
fn newest_and_losses(channel: &Channel) -> (u64, u64) {
    channel.confirms.as_ref().map_or((0, 0), |confirms| (confirms.newest(), confirms.losses()))
}

impl Patience {
    /// Waits for room, as long as the deadlines allow.
    async fn wait(
        self,
        channel: &ChannelHandle,
        mut publishing: impl Future<Output = Result<u64>> + Unpin,
    ) -> Result<u64> {
        let mut blocked_after = match self.while_blocked {
            WhileBlocked::FailAfter(after) => Some(after),
            WhileBlocked::Wait | WhileBlocked::Fail => None,
        };
        let mut waited = Duration::ZERO;
        loop {
            let limits = [self.timeout, blocked_after].into_iter().flatten();
            let Some(next) = limits.filter(|limit| *limit > waited).min() else { return publishing.await };
            if let Ok(published) = timeout(next - waited, &mut publishing).await {
                return published;
            }
            waited = next;
            if let Some(reason) = channel.with(|engine, _| engine.blocked()) {
                return Err(Error::Blocked { reason });
            }
            if self.timeout.is_some_and(|after| waited >= after) {
                return Err(Error::PublishTimeout { after: waited });
            }
            // The broker may block later, so this deadline starts over.
            if let WhileBlocked::FailAfter(after) = self.while_blocked
                && !after.is_zero()
                && blocked_after.is_some_and(|at| at <= waited)
            {
                blocked_after = Some(waited + after);
            }
        }
    }
}

/// A future of the outcome of one published message.
///
/// # Errors
/// Resolves to the reason when the channel ends first. Resolves to [`Error::PublishLost`] when the
/// connection is lost first and is to be recovered: the broker may or may not have the message.
///
/// # On drop
/// The message is still sent, and its outcome is discarded. If the future was polled and is dropped
/// without an answer, for instance by a deadline around it, the publish is given up: it no longer
/// counts towards the [window](crate::ConnectOptions::confirm_window), and neither
/// [`flush`](Publisher::flush) nor a drain waits for it.
#[must_use = "without awaiting it nobody knows whether the broker has the message"]
pub struct Confirm {
    channel: Arc<ChannelHandle>,
    tag: u64,
    waits: bool,
    done: bool,
}

impl Future for Confirm {
    type Output = Result<Confirmation>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.is_acked() {
            this.done = true;
            return Poll::Ready(Ok(Confirmation::Ack));
        }
        let polled = this.poll_settled(cx);
        this.waits = true;
        this.done = polled.is_ready();
        polled.map(|settled| match settled? {
            Settled::Ack => Ok(Confirmation::Ack),
            Settled::Nack => Ok(Confirmation::Nack),
            Settled::Returned(raw) => {
                let returned = Returned { raw: *raw, channel: this.channel.key.id };
                Ok(Confirmation::Returned(Box::new(returned)))
            }
            Settled::Lost(reason) => Err(Error::PublishLost(Box::new(reason))),
        })
    }
}

impl Confirm {
    /// Returns the publish's number on its channel, from 1.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<Result<Settled>> {
        let polled = self.channel.with_channel(|mut channel| {
            channel.confirms.as_mut().map(|confirms| confirms.poll(self.tag, cx.waker()))
        });
        let status = &self.channel.status;
        match polled.ok().flatten() {
            Some(polled) => polled.map(Ok),
            None => Poll::Ready(status.outcome(self.tag).ok_or_else(|| status.reason())),
        }
    }

    fn is_acked(&self) -> bool {
        self.channel.status.progress.is_acked(self.tag)
    }
}

impl Drop for Confirm {
    fn drop(&mut self) {
        if !self.done && !self.is_acked() {
            // If the channel has ended, there is nothing to forget.
            let _ = self.channel.with_channel(|mut channel| match self.waits {
                true => channel.give_up_confirm(self.tag),
                false => channel.forget_confirm(self.tag),
            });
        }
    }
}

impl Returned {
    /// Returns the reply code: 312 when there was no route.
    pub fn code(&self) -> ReplyCode {
        ReplyCode(self.raw.code)
    }

    /// Returns the reply text.
    pub fn text(&self) -> &str {
        &self.raw.text
    }

    /// Returns the exchange that the message was published to.
    pub fn exchange(&self) -> String {
        String::from_utf8_lossy(self.raw.content.exchange()).into_owned()
    }

    /// Returns the routing key that the message was published with.
    pub fn routing_key(&self) -> String {
        String::from_utf8_lossy(self.raw.content.routing_key()).into_owned()
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.raw.content.body
    }

    /// Decodes the properties.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the broker sent malformed properties.
    pub fn properties(&self) -> Result<Properties> {
        let decoded = self.raw.content.properties().decode();
        decoded.map_err(|source| Error::Protocol { channel: self.channel, source })
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned")
            .field("code", &self.code())
            .field("text", &self.text())
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("channel", &self.channel.key.id).finish()
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirm").field("tag", &self.tag).finish()
    }
}
