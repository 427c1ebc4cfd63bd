//! What handles do with the engine: calls, publishes, acks, closing. Each is one short step under the lock.

use std::{
    ops::Range,
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use amqp_codec::{
    Method, ShortString,
    method::{basic, channel, connection},
};

use super::{ChannelKey, Engine, Phase, wait::WaitFor};
use crate::{
    error::{Error, Result},
    message::Message,
    proto::{
        calls::{CallId, Reply},
        channel::Channel,
        consuming::{
            inbox::{Backlog, Inbox},
            subscription::Subscription,
        },
        expects::Expects,
        link::Link,
        publishing::{
            confirms::{Confirms, Settled},
            publish::{self, PublishMode, Route},
            republish::Kept,
        },
        status::ChannelStatus,
    },
};

impl Engine {
    /// What the handshake came to; `None` while it goes on.
    pub(crate) fn opened(&self) -> Option<Result<()>> {
        match &self.phase {
            Phase::Open | Phase::Restoring => Some(Ok(())),
            Phase::Down(error) | Phase::Ended(error) | Phase::Closing { reason: error, .. } => {
                Some(Err(error.clone()))
            }
            Phase::Handshake(_) => None,
        }
    }

    /// Why the connection has ended for good.
    pub(crate) fn ended(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Ended(error) => Some(error),
            _ => None,
        }
    }

    /// Begins the end of the connection, when it has not begun.
    pub(crate) fn close(&mut self, now: Instant) {
        match self.phase {
            Phase::Down(_) | Phase::Handshake(_) => self.finish(&Error::ConnectionEnded),
            Phase::Open | Phase::Restoring => {
                let close = connection::Close { reply_code: 200, ..Default::default() };
                self.begin_close(now, &close, Error::ConnectionEnded);
            }
            // What it was to be recovered from is not any more.
            Phase::Closing { ref mut reason, .. } => {
                *reason = Error::ConnectionEnded;
                self.end_channels(&Error::ConnectionEnded);
            }
            Phase::Ended(_) => {}
        }
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// [`Error::Recovering`] while there is no connection, but there is to be one again.
    pub(crate) fn open_channel(&mut self) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        self.check_open()?;
        self.open_any_channel(self.reopens)
    }

    /// As [`open_channel`](Self::open_channel), but the channel is not opened again after an error.
    pub(crate) fn open_temporary_channel(&mut self) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        self.check_open()?;
        self.open_any_channel(false)
    }

    fn check_open(&self) -> Result<()> {
        if let Some(error) = self.reason() {
            return Err(error);
        }
        if self.is_open() { Ok(()) } else { Err(Error::Recovering) }
    }

    /// As [`open_channel`](Self::open_channel), also while the connection is being restored; `reopens` when it is opened again after
    /// an error.
    pub(super) fn open_any_channel(
        &mut self,
        reopens: bool,
    ) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        let id = self.free_channel_id()?;
        self.epochs += 1;
        let status = Arc::new(ChannelStatus::default());
        let mut channel = Box::new(Channel::new(id, status.clone(), reopens));
        let call = self.link.calls.begin();
        let open = channel::Open::default();
        let expects = Expects::reply_to::<channel::Open>();
        channel.request(&mut self.link, open.into(), expects, Some(call))?;
        if let Some(slot) = self.channels.get_mut(usize::from(id)) {
            *slot = Some((self.epochs, channel));
        }
        Ok((ChannelKey { id, epoch: self.epochs }, status, call))
    }

    /// Sends a method on a channel; the call to wait for.
    pub(crate) fn call(&mut self, key: ChannelKey, method: Method, expects: Expects) -> Result<CallId> {
        let (channel, link) = self.open_channel_of(key)?;
        let call = link.calls.begin();
        match channel.request(link, method, expects, Some(call)) {
            Ok(()) => Ok(call),
            Err(error) => {
                link.calls.cancel(call);
                Err(error)
            }
        }
    }

    /// Begins a consumer; the call to wait for. Its limit leaves together with it: no other consumer of the channel can come
    /// between them.
    pub(crate) fn consume(
        &mut self,
        key: ChannelKey,
        subscription: Subscription,
        inbox: Arc<Inbox>,
    ) -> Result<CallId> {
        self.limit_ack_batch(key, subscription.prefetch);
        let (channel, link) = self.open_channel_of(key)?;
        channel.request(link, subscription.qos().into(), Expects::reply_to::<basic::Qos>(), None)?;
        let consume = subscription.consume_now().into();
        self.call(key, consume, Expects::Consume(Box::new(subscription), inbox))
    }

    /// Whether a transaction of the channel was lost in part.
    pub(crate) fn has_lost_transaction(&mut self, key: ChannelKey) -> bool {
        self.channel_of(key).is_some_and(|(channel, _)| channel.has_lost_transaction())
    }

    /// Sends a method on a channel that is not answered unless it is refused.
    pub(crate) fn send_no_wait(&mut self, key: ChannelKey, method: Method) -> Result<()> {
        let (channel, link) = self.open_channel_of(key)?;
        channel.send_no_wait(link, method)
    }

    /// Whether a channel, or the connection without one, cannot be used but will be again.
    pub(crate) fn is_recovering(&mut self, key: Option<ChannelKey>) -> bool {
        match key {
            Some(key) => matches!(self.open_channel_of(key), Err(Error::Recovering)),
            None => self.reason().is_none() && !self.is_open(),
        }
    }

    pub(crate) fn poll_call(&mut self, call: CallId, waker: &Waker) -> Poll<Result<Reply>> {
        self.link.calls.poll(call, waker)
    }

    /// The caller goes away; what the answer brings about is undone.
    pub(crate) fn abandon_call(&mut self, key: Option<ChannelKey>, call: CallId) {
        if let Some(Ok(reply)) = self.link.calls.abandon(call)
            && let Some((channel, link)) = key.and_then(|key| self.channel_of(key))
        {
            channel.undo(link, reply);
        }
    }

    pub(crate) fn is_channel_open(&mut self, key: ChannelKey) -> bool {
        self.open_channel_of(key).is_ok()
    }

    /// Tells whether a channel has ended, or is being closed.
    pub(crate) fn is_channel_closed(&mut self, key: ChannelKey) -> bool {
        self.channel_in(key, |channel| !channel.is_closing()).is_err()
    }

    pub(crate) fn close_channel(&mut self, key: ChannelKey) -> Option<CallId> {
        self.forget_lost_channel(key);
        let (channel, link) = self.live_channel_of(key).ok()?;
        let call = link.calls.begin();
        channel.close(link, Some(call));
        Some(call)
    }

    /// A channel that the broker knows nothing of is closed by not opening it again.
    fn forget_lost_channel(&mut self, key: ChannelKey) {
        if let Some((channel, link)) = self.channel_of(key)
            && channel.lost_for().is_some()
        {
            channel.end(link, &Error::ChannelEnded { channel: key.id });
            self.free_channel(key.id);
        }
    }

    /// All channels that can be used, or will be again.
    pub(crate) fn open_channels(&self) -> Vec<ChannelKey> {
        let channels = self.channels.iter().enumerate();
        let open =
            channels.filter_map(|(id, slot)| slot.as_ref().map(|(epoch, channel)| (id, *epoch, channel)));
        open.filter(|(_, _, channel)| !channel.is_closing())
            .map(|(id, epoch, _)| ChannelKey { id: id as u16, epoch })
            .collect()
    }

    /// Asks for no more deliveries on a channel.
    pub(crate) fn begin_drain(&mut self, key: ChannelKey) {
        if let Ok((channel, link)) = self.channel_in(key, |channel| !channel.is_closing()) {
            channel.cancel_consumers(link);
        }
    }

    /// Asks for no more deliveries to one consumer.
    pub(crate) fn cancel_consumer(&mut self, key: ChannelKey, tag: &ShortString) {
        if let Ok((channel, link)) = self.channel_in(key, |channel| !channel.is_closing()) {
            channel.cancel_consumer(link, tag);
        }
    }

    /// Whether everything that was delivered on a channel up to `tag` is settled, or the channel has ended.
    pub(crate) fn is_settled_up_to(&mut self, key: ChannelKey, tag: u64) -> bool {
        let channel = self.channel_of(key).filter(|(channel, _)| channel.is_open());
        channel.is_none_or(|(channel, _)| channel.acks.is_settled_up_to(tag))
    }

    /// Whether a channel has nothing left to do, or has ended.
    pub(crate) fn is_drained(&mut self, key: ChannelKey) -> bool {
        self.channel_of(key).is_none_or(|(channel, _)| channel.is_drained())
    }

    /// Deliveries unacked and publishes unconfirmed on these channels.
    pub(crate) fn unfinished(&mut self, channels: &[ChannelKey]) -> (usize, usize) {
        let mut left = (0, 0);
        for &key in channels {
            if let Some((channel, _)) = self.channel_of(key) {
                left.0 += channel.acks.outstanding();
                left.1 += channel.confirms.as_ref().map_or(0, Confirms::in_flight);
            }
        }
        left
    }

    /// When the oldest delivery of a channel arrived that the user has not settled.
    pub(crate) fn oldest_unacked(&mut self, key: ChannelKey) -> Option<Instant> {
        self.channel_of(key)?.0.acks.oldest()
    }

    /// The last handle of a channel was dropped.
    pub(crate) fn drop_channel(&mut self, key: ChannelKey) {
        self.forget_lost_channel(key);
        if let Ok((channel, link)) = self.live_channel_of(key) {
            channel.close(link, None);
        }
    }

    /// Whether a channel has ended. The reason is in its status.
    pub(crate) fn has_channel_ended(&mut self, key: ChannelKey) -> bool {
        self.channel_of(key).is_none_or(|(channel, _)| channel.status().ended.get().is_some())
    }

    /// Queues one publish, whole or not at all: the tag in confirm mode, 0 without. `None` while there is no room, the window is
    /// full, or the broker has stopped publishes.
    #[inline]
    pub(crate) fn try_publish(
        &mut self,
        key: ChannelKey,
        route: Route<'_>,
        message: &Message,
        mode: PublishMode,
    ) -> Option<Result<u64>> {
        let has_room = self.has_room_to_send();
        let (channel, link) = match self.open_channel_of(key) {
            Ok(open) => open,
            Err(Error::Recovering) => return self.link.never_fits(route, message).map(Err),
            Err(error) => return Some(Err(error)),
        };
        if !has_room || !channel.may_publish(link) {
            return link.never_fits(route, message).map(Err);
        }
        if let Some(error) = link.is_too_large(message) {
            return Some(Err(error));
        }
        channel.flush_acks(link);
        match publish::encode(&mut link.output, link.frame_max, key.id, route, message) {
            Ok(frames) => link.metrics.frames_sent += frames,
            Err(error) => return Some(Err(Error::Invalid(error))),
        }
        link.metrics.messages_published += 1;
        let Some(confirms) = &mut channel.confirms else {
            channel.works();
            return Some(Ok(0));
        };
        let tag = confirms.published(message.body().len(), mode == PublishMode::Unconfirmed);
        if route.mandatory && mode != PublishMode::Unconfirmed {
            let (exchange, routing_key) = (route.exchange.as_bytes(), route.routing_key.as_bytes());
            confirms.mandatory(tag, exchange, routing_key, message.body().clone());
        }
        if mode == PublishMode::Republished {
            confirms.keep(tag, Kept::new(route, message));
        }
        Some(Ok(tag))
    }

    /// What a publish waits for that found no room.
    pub(crate) fn blocker_of_publish(&mut self, key: ChannelKey) -> WaitFor {
        if self.is_recovering(Some(key)) {
            WaitFor::State
        } else if !self.has_room_to_send() {
            WaitFor::Room
        } else {
            WaitFor::Window(key)
        }
    }

    #[inline]
    fn has_room_to_send(&self) -> bool {
        self.link.output.len() < self.write_buffer && self.blocked.is_none()
    }

    /// How often publishes of the channel were lost.
    pub(crate) fn losses(&mut self, key: ChannelKey) -> u64 {
        let channel = self.channel_of(key);
        channel.and_then(|(channel, _)| channel.confirms.as_ref()).map_or(0, Confirms::losses)
    }

    /// Why the broker takes no publishes; `None` while it does.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.blocked.as_ref().map(ToString::to_string)
    }

    /// The tag of the channel's last publish in confirm mode; 0 when there was none.
    pub(crate) fn newest_publish(&mut self, key: ChannelKey) -> u64 {
        let channel = self.channel_of(key);
        channel.and_then(|(channel, _)| channel.confirms.as_ref()).map_or(0, Confirms::newest)
    }

    /// The tags behind the last one that the broker has answered on a channel, or had when it ended.
    pub(crate) fn unanswered(&mut self, key: ChannelKey, status: &ChannelStatus) -> Range<u64> {
        if let Some((channel, _)) = self.channel_of(key)
            && let Some(confirms) = &channel.confirms
        {
            return confirms.unanswered();
        }
        status.unanswered()
    }

    /// Whether every publish up to `tag` is settled; why they are not to be, when the channel has ended before.
    pub(crate) fn flushed(
        &mut self,
        key: ChannelKey,
        status: &ChannelStatus,
        tag: u64,
    ) -> Option<Result<()>> {
        if let Some((channel, _)) = self.channel_of(key)
            && let Some(confirms) = &channel.confirms
        {
            return confirms.is_settled_up_to(tag).then_some(Ok(()));
        }
        let settled = tag == 0 || status.is_settled_up_to(tag);
        Some(if settled { Ok(()) } else { Err(status.reason()) })
    }

    /// What became of a publish.
    pub(crate) fn poll_confirm(
        &mut self,
        key: ChannelKey,
        status: &ChannelStatus,
        tag: u64,
        waker: &Waker,
    ) -> Poll<Result<Settled>> {
        if let Some((channel, _)) = self.channel_of(key)
            && let Some(confirms) = &mut channel.confirms
        {
            return confirms.poll(tag, waker).map(Ok);
        }
        Poll::Ready(status.outcome(tag).ok_or_else(|| status.reason()))
    }

    /// Nobody asks what becomes of a publish.
    pub(crate) fn forget_confirm(&mut self, key: ChannelKey, tag: u64) {
        if let Some((channel, _)) = self.channel_of(key)
            && let Some(confirms) = &mut channel.confirms
        {
            confirms.forget(tag);
        }
    }

    /// Who asked what becomes of a publish waits no more.
    pub(crate) fn give_up_confirm(&mut self, key: ChannelKey, tag: u64) {
        if let Some((channel, link)) = self.channel_of(key) {
            channel.give_up_confirm(link, tag);
        }
    }

    /// Acks one delivery: it leaves with the next batch.
    #[inline]
    pub(crate) fn ack(&mut self, key: ChannelKey, tag: u64) -> Result<()> {
        let (channel, link) = self.channel_to_settle(key, tag)?;
        let first = channel.acks.waiting() == 0;
        if channel.acks.ack(tag) {
            channel.settled(link);
            link.metrics.messages_acked += 1;
            let urgent = channel.acks_are_urgent();
            self.acks_urgent |= urgent;
            self.acks_waiting += 1;
            if first {
                self.unflushed.push(key.id);
            }
        }
        Ok(())
    }

    /// A consumer of the channel may have this many deliveries outstanding; 0 is no limit.
    pub(crate) fn limit_ack_batch(&mut self, key: ChannelKey, prefetch: u16) {
        if let Some((channel, _)) = self.channel_of(key) {
            channel.limit_ack_batch(prefetch);
        }
    }

    pub(crate) fn nack(&mut self, key: ChannelKey, tag: u64, requeue: bool) -> Result<()> {
        let (channel, link) = self.channel_to_settle(key, tag)?;
        channel.nack(link, tag, requeue);
        Ok(())
    }

    pub(crate) fn reject(&mut self, key: ChannelKey, tag: u64, requeue: bool) -> Result<()> {
        let (channel, link) = self.channel_to_settle(key, tag)?;
        channel.reject(link, tag, requeue);
        Ok(())
    }

    /// The channel that a delivery is to be settled on.
    ///
    /// # Errors
    /// [`Error::StaleDelivery`] for one of a connection that was lost, or why the channel has ended.
    #[inline]
    fn channel_to_settle(&mut self, key: ChannelKey, tag: u64) -> Result<(&mut Channel, &mut Link)> {
        let (channel, link) = self.channel_in(key, |channel| !channel.is_closing())?;
        channel.check_fresh(tag)?;
        channel.works();
        Ok((channel, link))
    }

    /// A consumer's handle was dropped, with deliveries it had not handed out.
    pub(crate) fn drop_consumer(
        &mut self,
        key: ChannelKey,
        tag: &ShortString,
        unread: impl Iterator<Item = u64>,
    ) {
        for delivery_tag in unread {
            // What is stale, or of a channel that has ended, the broker has taken back.
            let _ = self.nack(key, delivery_tag, true);
        }
        if let Some((channel, link)) = self.channel_of(key) {
            channel.drop_consumer(link, tag);
        }
        self.forget_queues_without_consumers();
    }

    /// A consumer has taken deliveries: the driver may read again if it had paused for them.
    pub(crate) fn resume_reading(&mut self) {
        if self.is_reading_paused && !self.link.backlog.is_full() {
            self.link.wakes.extend(self.driver.take());
        }
    }

    pub(crate) fn backlog(&self) -> Arc<Backlog> {
        self.link.backlog.clone()
    }
}
