//! A channel that was lost, with its connection or by an error, and is set up again: what is over, and what goes on.

use amqp_codec::{
    Method, ShortString,
    method::{basic, channel, confirm, tx},
};

use super::{Channel, Loss, Phase};
use crate::{
    error::{Error, Result},
    proto::{
        calls::CallId,
        consuming::subscription::Subscription,
        expects::Expects,
        link::Link,
        publishing::{publish, republish::Kept},
    },
};

impl Channel {
    /// What was under way ends with `reason`. The channel itself and its consumers go on once they have been restored: `false`
    /// when it was being closed, so that it does not.
    pub(crate) fn lose(&mut self, link: &mut Link, reason: &Error, loss: Loss) -> bool {
        match self.phase {
            Phase::Closing => {
                self.end(link, &Error::ChannelEnded { channel: self.id });
                return false;
            }
            Phase::Lost(_) => return true,
            Phase::Open | Phase::Restoring => {}
        }
        let cancelled = self.being_cancelled();
        self.end_calls(link, reason);
        self.incoming.clear();
        self.is_discarding = false;
        self.recovering = 0;
        self.flow_stopped = false;
        self.resumes_held = false;
        self.take_back_deliveries(link);
        cancelled.iter().for_each(|tag| self.remove_consumer(link, tag, None));
        if let Some(confirms) = &mut self.confirms {
            link.lost += confirms.lose(loss == Loss::Transport, reason, &mut link.wakes);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.is_lost |= transaction.has_work;
        }
        self.phase = Phase::Lost(reason.clone());
        self.drain_waiters.wake_all(&mut link.wakes);
        self.window_waiters.wake_all(&mut link.wakes);
        true
    }

    /// What was delivered and not acknowledged comes again; what needs no acknowledgement does not, and is kept.
    fn take_back_deliveries(&mut self, link: &mut Link) {
        self.put_batches(&mut link.wakes);
        for (_, consumer) in &self.consumers {
            if !consumer.subscription.consume.no_ack {
                consumer.inbox.drain();
            }
        }
        self.tags_before = self.acks.newest();
        self.status.set_stale_up_to(self.tags_before);
        self.acks.lose();
        self.loosest_limit = 0;
    }

    /// Opens the channel on a new connection, or again on this one, and sets its modes. The calls to wait for.
    pub(crate) fn reopen(&mut self, link: &mut Link) -> Result<Vec<CallId>> {
        self.phase = Phase::Restoring;
        let mut calls = Vec::new();
        let mut call = |channel: &mut Self, method: Method, expects| {
            let call = link.calls.begin();
            calls.push(call);
            channel.request(link, method, expects, Some(call))
        };
        call(self, channel::Open::default().into(), Expects::reply_to::<channel::Open>())?;
        if self.confirms.is_some() {
            call(self, confirm::Select { no_wait: false }.into(), Expects::ConfirmSelect)?;
        }
        if self.transaction.is_some() {
            call(self, tx::Select {}.into(), Expects::reply_to::<tx::Select>())?;
        }
        if let Some(qos) = self.qos.clone() {
            call(self, qos.into(), Expects::reply_to::<basic::Qos>())?;
        }
        Ok(calls)
    }

    /// The consumers that were there and have not begun again: they are wanted on.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        let wanted = self.consumers.iter().filter(|(_, consumer)| !consumer.dropped && !consumer.is_held);
        wanted.map(|(_, consumer)| consumer.subscription.clone()).collect()
    }

    /// Begins a consumer again; the call to wait for.
    pub(crate) fn resume_consumer(&mut self, link: &mut Link, tag: &ShortString) -> Result<Option<CallId>> {
        let index = self.by_tag.get(tag).filter(|_| !self.is_being_cancelled(tag));
        let Some(consumer) = index.and_then(|&index| self.consumers.get(index)) else { return Ok(None) };
        let (qos, consume) = (consumer.subscription.qos(), consumer.subscription.consume_now());
        let limit = consumer.subscription.unsettled_limit().unwrap_or(u32::MAX);
        self.loosest_limit = self.loosest_limit.max(limit);
        self.request(link, qos.into(), Expects::reply_to::<basic::Qos>(), None)?;
        let call = link.calls.begin();
        self.request(link, consume.into(), Expects::Resume { tag: tag.clone() }, Some(call))?;
        Ok(Some(call))
    }

    /// A consumer cannot begin again: its stream ends with the reason, unless its user wants it to wait for its queue.
    pub(crate) fn fail_consumer(&mut self, link: &mut Link, tag: &ShortString, reason: Error) {
        if let Some(consumer) = self.by_tag.get(tag).and_then(|&index| self.consumers.get(index)) {
            consumer.inbox.keep_cancelled(consumer.subscription.clone());
        }
        self.remove_consumer(link, tag, Some(reason));
    }

    /// The broker has given a queue another name.
    pub(crate) fn rename_queue(&mut self, old: &ShortString, new: &ShortString) {
        for (_, consumer) in &mut self.consumers {
            if consumer.subscription.consume.queue == *old {
                consumer.subscription.consume.queue = new.clone();
            }
        }
        if self.last_queue == *old {
            self.last_queue = new.clone();
        }
    }

    /// The queue that a consumer is of.
    pub(crate) fn queue_of(&self, tag: &ShortString) -> Option<&ShortString> {
        let consumer = self.consumers.get(*self.by_tag.get(tag)?)?;
        Some(&consumer.subscription.consume.queue)
    }

    /// Whether a consumer of the channel is of this queue.
    pub(crate) fn consumes(&self, queue: &ShortString) -> bool {
        self.consumers.iter().any(|(_, consumer)| consumer.subscription.consume.queue == *queue)
    }

    /// Publishes again what is to be, and is there for its user again. Returns how much was published.
    pub(crate) fn restored(&mut self, link: &mut Link) -> usize {
        let (id, frame_max, output) = (self.id, link.frame_max, &mut link.output);
        let metrics = &mut link.metrics;
        let publish = |kept: &Kept| {
            metrics.frames_sent += publish::encode(output, frame_max, id, kept.route(), &kept.message)?;
            metrics.messages_published += 1;
            Ok(())
        };
        let confirms = self.confirms.as_mut();
        let published = confirms.map_or(0, |confirms| confirms.republish(publish, &mut link.wakes));
        self.phase = Phase::Open;
        self.window_waiters.wake_all(&mut link.wakes);
        published
    }

    /// Why it is waiting to be restored.
    pub(crate) fn lost_for(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Lost(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether its restoring is under way.
    pub(crate) fn is_restoring(&self) -> bool {
        matches!(self.phase, Phase::Restoring)
    }
}
