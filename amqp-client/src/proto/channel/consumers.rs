//! How consumers start, are cancelled and end.

use std::{collections::VecDeque, sync::Arc};

use amqp_codec::{ShortString, method::basic};

use super::Channel;
use crate::{
    error::{Error, Result},
    proto::{
        calls::CallId,
        consuming::{consumers::Consumer, inbox::Inbox, subscription::Subscription},
        expects::Expects,
        link::Link,
    },
};

impl Channel {
    pub(super) fn add_consumer(&mut self, mut subscription: Subscription, inbox: Arc<Inbox>) {
        if subscription.consume.queue.is_empty() {
            subscription.consume.queue = self.last_queue.clone();
        }
        let limit = subscription.unsettled_limit().unwrap_or(u32::MAX);
        self.loosest_limit = self.loosest_limit.max(limit);
        // With a limit of 0, the first delivery shows whether this is a stream.
        let unsettled_limit = if subscription.is_of_stream() { 0 } else { limit };
        self.consumers.add(Consumer {
            holder: (!subscription.consume.no_ack).then(|| self.acks.holders.add()),
            subscription,
            inbox,
            batch: VecDeque::new(),
            batch_bytes: 0,
            unsettled_limit,
            is_held: false,
            dropped: false,
        });
    }

    pub(super) fn remove_consumer(&mut self, link: &mut Link, tag: &ShortString, reason: Option<Error>) {
        self.consumers.put_batches(&mut link.wakes);
        let Some(consumer) = self.consumers.remove(tag) else { return };
        // If the broker cancelled it, or it cannot be restarted, its queue was not deleted for lack
        // of consumers.
        if reason.is_none() {
            link.consumer_gone(&consumer.subscription);
        }
        link.wakes.extend(consumer.inbox.end(reason));
        if let Some(holder) = consumer.holder {
            self.acks.holders.remove(holder);
        }
        self.drain_waiters.wake_all(&mut link.wakes);
    }

    pub(super) fn cancelled_by_broker(&mut self, link: &mut Link, cancel: &basic::Cancel) {
        let tag = &cancel.consumer_tag;
        if let Some(consumer) = self.consumers.get(tag) {
            consumer.inbox.keep_cancelled(consumer.subscription.clone());
        }
        self.remove_consumer(link, tag, Some(Error::ConsumerCancelled { tag: tag.to_string() }));
        if !cancel.no_wait {
            link.reply(self.id, &basic::CancelOk { consumer_tag: tag.clone() });
        }
    }

    /// Asks for no more deliveries: each consumer ends when the broker has agreed.
    pub(crate) fn cancel_consumers(&mut self, link: &mut Link) {
        for tag in self.consumers.tags() {
            self.cancel_consumer(link, &tag);
        }
    }

    /// Asks for no more deliveries to one consumer, unless that was asked before.
    pub(crate) fn cancel_consumer(&mut self, link: &mut Link, tag: &ShortString) {
        // The broker does not know this consumer, so there is nothing to cancel.
        if self.lost_for().is_some() || self.consumers.is_held(tag) {
            return self.remove_consumer(link, tag, None);
        }
        if self.consumers.get(tag).is_some() && !self.is_being_cancelled(tag) {
            let cancel = basic::Cancel { consumer_tag: tag.clone(), no_wait: false };
            // Its tag came from the broker in a frame, so it fits into one.
            let _ = self.request(link, cancel.into(), Expects::Cancel { tag: tag.clone() }, None);
        }
    }

    /// Cancels a consumer whose handle was dropped, and requeues the deliveries that nobody will
    /// process.
    pub(crate) fn drop_consumer(&mut self, link: &mut Link, tag: &ShortString) {
        let Some(consumer) = self.consumers.get_mut(tag) else { return };
        if std::mem::replace(&mut consumer.dropped, true) {
            return;
        }
        // The driver need not be woken here: the cancel wakes it, and it checks the backlog.
        let (unread, _) = consumer.inbox.drain();
        if self.is_live() {
            for delivery in unread.iter().filter(|delivery| delivery.may_be_given_back()) {
                self.nack(link, delivery.tag, true);
            }
        }
        if !self.is_closing() {
            self.cancel_consumer(link, tag);
        }
    }

    /// Restarts a consumer; returns the call to wait for, or `None` if the consumer is not wanted
    /// any more.
    pub(crate) fn resume_consumer(&mut self, link: &mut Link, tag: &ShortString) -> Result<Option<CallId>> {
        let wanted = self.consumers.get(tag).filter(|_| !self.is_being_cancelled(tag));
        let Some(consumer) = wanted else { return Ok(None) };
        let (qos, consume) = (consumer.subscription.qos(), consumer.subscription.consume_now());
        let limit = consumer.subscription.unsettled_limit().unwrap_or(u32::MAX);
        self.loosest_limit = self.loosest_limit.max(limit);
        self.request(link, qos.into(), Expects::reply_to::<basic::Qos>(), None)?;
        let call = link.calls.begin();
        self.request(link, consume.into(), Expects::Resume { tag: tag.clone() }, Some(call))?;
        Ok(Some(call))
    }

    /// Ends a consumer that cannot be restarted: its stream ends with the reason, unless its user
    /// has asked to wait for the queue.
    pub(crate) fn fail_consumer(&mut self, link: &mut Link, tag: &ShortString, reason: Error) {
        if let Some(consumer) = self.consumers.get(tag) {
            consumer.inbox.keep_cancelled(consumer.subscription.clone());
        }
        self.remove_consumer(link, tag, Some(reason));
    }

    /// Notes that the broker has given a queue another name.
    pub(crate) fn rename_queue(&mut self, old: &ShortString, new: &ShortString) {
        self.consumers.rename_queue(old, new);
        if self.last_queue == *old {
            self.last_queue = new.clone();
        }
    }
}
