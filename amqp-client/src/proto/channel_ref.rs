//! A channel together with what it shares with the others of its engine. Handles use it; each
//! method is one short step under the lock.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use amqp_codec::{Method, ShortString, method::basic};

use crate::{
    error::{Error, Result},
    message::Message,
    options::route::Route,
    proto::{
        calls::{CallId, Reply},
        channel::Channel,
        consuming::{inbox::Inbox, subscription::Subscription},
        expects::Expects,
        link::Link,
        publishing::{
            confirms::Confirms,
            publish::{self, PublishMode},
            republish::Kept,
        },
    },
};

pub(crate) struct ChannelRef<'a> {
    channel: &'a mut Channel,
    pub(crate) link: &'a mut Link,
}

impl Deref for ChannelRef<'_> {
    type Target = Channel;

    #[inline]
    fn deref(&self) -> &Channel {
        self.channel
    }
}

impl DerefMut for ChannelRef<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Channel {
        self.channel
    }
}

impl<'a> ChannelRef<'a> {
    #[inline]
    pub(crate) fn new(channel: &'a mut Channel, link: &'a mut Link) -> Self {
        ChannelRef { channel, link }
    }

    /// Returns only the channel, for as long as the engine is borrowed.
    pub(crate) fn into_channel(self) -> &'a mut Channel {
        self.channel
    }

    /// Ends the channel with `reason`.
    pub(crate) fn end(&mut self, reason: &Error) {
        self.channel.end(self.link, reason);
    }
}

/// These methods make calls.
impl ChannelRef<'_> {
    /// Sends a method; returns the call to wait for.
    pub(crate) fn call(&mut self, method: Method, expects: Expects) -> Result<CallId> {
        self.channel.check_open()?;
        let call = self.link.calls.begin();
        match self.channel.request(self.link, method, expects, Some(call)) {
            Ok(()) => Ok(call),
            Err(error) => {
                self.link.calls.cancel(call);
                Err(error)
            }
        }
    }

    /// Sends a method like [`call`](Self::call), without recording it again, to restore the
    /// connection.
    pub(crate) fn call_to_restore(&mut self, method: Method, expects: Expects) -> Result<CallId> {
        let registry = self.link.registry.take();
        let call = self.call(method, expects);
        self.link.registry = registry;
        call
    }

    /// Sends a method that is not answered. If the broker refuses it, the channel ends.
    pub(crate) fn send_no_wait(&mut self, method: Method) -> Result<()> {
        self.channel.check_open()?;
        self.channel.send_no_wait(self.link, method)
    }

    /// Undoes an answer that nobody takes any more.
    pub(crate) fn undo(&mut self, reply: Reply) {
        self.channel.undo(self.link, reply);
    }

    /// Asks the broker to close the channel; returns the call to wait for.
    pub(crate) fn close(&mut self) -> Option<CallId> {
        if !self.channel.is_live() {
            return None;
        }
        let call = self.link.calls.begin();
        self.channel.close(self.link, Some(call));
        Some(call)
    }

    /// Closes the channel after its last handle was dropped; nobody waits for the answer.
    pub(crate) fn close_unheeded(&mut self) {
        if self.channel.is_live() {
            self.channel.close(self.link, None);
        }
    }
}

/// These methods publish.
impl ChannelRef<'_> {
    /// Queues one publish, completely or not at all. Returns its tag in confirm mode, and 0
    /// otherwise; `None` while there is no room, the window is full, or the broker has stopped
    /// publishes.
    #[inline]
    pub(crate) fn try_publish(
        &mut self,
        route: Route<'_>,
        message: &Message,
        mode: PublishMode,
    ) -> Option<Result<u64>> {
        let (channel, link) = (&mut *self.channel, &mut *self.link);
        match channel.check_open() {
            Ok(()) => {}
            Err(Error::Recovering) => return link.never_fits(route, message).map(Err),
            Err(error) => return Some(Err(error)),
        }
        if !link.has_room_to_send() || !channel.may_publish(link) {
            return link.never_fits(route, message).map(Err);
        }
        if let Some(error) = link.is_too_large(message) {
            return Some(Err(error));
        }
        channel.flush_acks(link);
        match publish::encode(&mut link.output, link.frame_max, channel.id(), route, message) {
            Ok(frames) => link.metrics.frames_sent += frames,
            Err(error) => return Some(Err(Error::Invalid(error))),
        }
        link.metrics.messages_published += 1;
        let Some(confirms) = &mut channel.confirms else {
            channel.works();
            return Some(Ok(0));
        };
        let tag = confirms.published(message.body().len(), mode == PublishMode::Unconfirmed);
        if route.mandatory {
            let (exchange, routing_key) = (route.exchange.as_bytes(), route.routing_key.as_bytes());
            confirms.mandatory(tag, exchange, routing_key, message.body().clone());
        }
        if mode == PublishMode::Republished {
            confirms.keep(tag, Kept::new(route, message));
        }
        Some(Ok(tag))
    }

    /// Notes that nobody will ask for the outcome of a publish.
    pub(crate) fn forget_confirm(&mut self, tag: u64) {
        if let Some(confirms) = &mut self.channel.confirms {
            confirms.forget(tag);
        }
    }

    /// Stops waiting for the outcome of a publish.
    pub(crate) fn give_up_confirm(&mut self, tag: u64) {
        self.channel.give_up_confirm(self.link, tag);
    }
}

/// These methods consume.
impl ChannelRef<'_> {
    /// Starts a consumer; returns the call to wait for and the inbox of its deliveries. The
    /// prefetch is sent directly before it, so that it applies to no other consumer of the channel.
    pub(crate) fn consume(&mut self, subscription: Subscription) -> Result<(CallId, Arc<Inbox>)> {
        self.channel.limit_ack_batch(subscription.prefetch);
        self.channel.check_open()?;
        let is_bounded = subscription.unsettled_limit().is_some();
        let inbox = Arc::new(Inbox::new(self.link.backlog.clone(), is_bounded));
        let qos = subscription.qos().into();
        self.channel.request(self.link, qos, Expects::reply_to::<basic::Qos>(), None)?;
        let consume = subscription.consume_now().into();
        let call = self.call(consume, Expects::Consume(Box::new(subscription), inbox.clone()))?;
        Ok((call, inbox))
    }

    /// Asks for no more deliveries to any consumer.
    pub(crate) fn cancel_consumers(&mut self) {
        if !self.channel.is_closing() {
            self.channel.cancel_consumers(self.link);
        }
    }

    /// Asks for no more deliveries to one consumer.
    pub(crate) fn cancel_consumer(&mut self, tag: &ShortString) {
        if !self.channel.is_closing() {
            self.channel.cancel_consumer(self.link, tag);
        }
    }

    /// Cancels a consumer whose handle was dropped, and requeues the deliveries that it had not
    /// handed out.
    pub(crate) fn drop_consumer(&mut self, tag: &ShortString, unread: impl Iterator<Item = u64>) {
        for delivery_tag in unread {
            // The broker requeues stale deliveries, and those of a closing channel, by itself.
            let _ = self.nack(delivery_tag, true);
        }
        self.channel.drop_consumer(self.link, tag);
    }
}

/// These methods settle deliveries.
impl ChannelRef<'_> {
    /// Acks one delivery; the ack leaves with the next batch.
    #[inline]
    pub(crate) fn ack(&mut self, tag: u64) -> Result<()> {
        self.check_settles(tag)?;
        let (channel, link) = (&mut *self.channel, &mut *self.link);
        let first = channel.acks.waiting() == 0;
        if channel.acks.ack(tag) {
            channel.settled(link);
            link.metrics.messages_acked += 1;
            link.gathering.add(channel.id(), first, channel.acks_are_urgent());
        }
        Ok(())
    }

    pub(crate) fn nack(&mut self, tag: u64, requeue: bool) -> Result<()> {
        self.check_settles(tag)?;
        self.channel.nack(self.link, tag, requeue);
        Ok(())
    }

    pub(crate) fn reject(&mut self, tag: u64, requeue: bool) -> Result<()> {
        self.check_settles(tag)?;
        self.channel.reject(self.link, tag, requeue);
        Ok(())
    }

    /// Checks that the delivery can be settled.
    ///
    /// # Errors
    /// [`Error::StaleDelivery`] for a delivery of a lost connection, or that the channel has ended.
    #[inline]
    fn check_settles(&mut self, tag: u64) -> Result<()> {
        self.channel.check_not_closing()?;
        self.channel.check_fresh(tag)?;
        self.channel.works();
        Ok(())
    }

    /// Tells whether all deliveries up to `tag` are settled, or cannot be settled any more.
    pub(crate) fn is_settled_up_to(&self, tag: u64) -> bool {
        !self.channel.is_open() || self.channel.acks.is_settled_up_to(tag)
    }

    /// Returns how many deliveries are unsettled and how many publishes unconfirmed.
    pub(crate) fn unfinished(&self) -> (usize, usize) {
        let unconfirmed = self.channel.confirms.as_ref().map_or(0, Confirms::in_flight);
        (self.channel.acks.outstanding(), unconfirmed)
    }
}

/// These methods restore a channel.
impl ChannelRef<'_> {
    /// Reopens a lost channel; returns the calls to wait for, and the consumers to restart after
    /// them.
    pub(crate) fn reopen(&mut self) -> Result<(Vec<CallId>, Vec<Subscription>)> {
        if self.channel.lost_for().is_none() {
            return Err(self.channel.refusal());
        }
        let calls = self.channel.reopen(self.link)?;
        Ok((calls, self.channel.consumers.to_resume()))
    }

    /// Restarts a consumer; returns the call to wait for, or `None` if its user is gone.
    pub(crate) fn resume_consumer(&mut self, tag: &ShortString) -> Result<Option<CallId>> {
        self.channel.check_restoring()?;
        self.channel.resume_consumer(self.link, tag)
    }

    /// Restarts a consumer that has waited; returns the call to wait for, or `None` if its user is
    /// gone.
    ///
    /// # Errors
    /// [`Error::Recovering`] while the channel itself is being restored, or that it has ended.
    pub(crate) fn resume_held_consumer(&mut self, tag: &ShortString) -> Result<Option<CallId>> {
        self.channel.check_open()?;
        self.channel.resume_held_consumer(self.link, tag)
    }

    /// Ends a consumer that cannot be restarted.
    pub(crate) fn fail_consumer(&mut self, tag: &ShortString, reason: Error) {
        self.channel.fail_consumer(self.link, tag, reason);
    }

    /// Makes the restored channel usable again. Returns how many publishes were repeated; `None` if
    /// the channel was not being restored.
    pub(crate) fn restored(&mut self) -> Option<usize> {
        self.channel.is_restoring().then(|| self.channel.restored(self.link))
    }
}
