//! The consumers of a channel, by tag.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use amqp_codec::ShortString;
use slab::Slab;

use crate::proto::consuming::{
    delivery::RawDelivery, holders::Holder, inbox::Inbox, subscription::Subscription,
};

pub(crate) struct Consumer {
    /// The parameters with which it was started, and is restarted.
    pub(crate) subscription: Subscription,
    pub(crate) inbox: Arc<Inbox>,
    /// The deliveries of the current read.
    pub(crate) batch: VecDeque<RawDelivery>,
    /// The total size of those deliveries.
    pub(crate) batch_bytes: usize,
    /// The holder under which its unsettled deliveries are counted; `None` without
    /// acknowledgements.
    pub(crate) holder: Option<Holder>,
    /// How many unsettled deliveries do not yet break the prefetch.
    pub(crate) unsettled_limit: u32,
    /// Whether it waits until the broker gives up what it reserves for a lost connection.
    pub(crate) is_held: bool,
    /// Whether its handle was dropped, or it has ended: deliveries that still arrive are requeued.
    pub(crate) dropped: bool,
}

#[derive(Default)]
pub(crate) struct Consumers {
    pub(crate) slots: Slab<Consumer>,
    by_tag: HashMap<ShortString, usize>,
    /// The consumer of the last delivery, which is often that of the next one too.
    recent: usize,
    /// The consumers with a batch for their inbox.
    pub(crate) touched: Vec<usize>,
}

impl Consumers {
    pub(crate) fn add(&mut self, consumer: Consumer) {
        let tag = consumer.subscription.tag().clone();
        let index = self.slots.insert(consumer);
        self.by_tag.insert(tag, index);
    }

    pub(crate) fn remove(&mut self, tag: &ShortString) -> Option<Consumer> {
        let index = self.by_tag.remove(tag)?;
        self.slots.try_remove(index)
    }

    pub(crate) fn get(&self, tag: &ShortString) -> Option<&Consumer> {
        self.slots.get(*self.by_tag.get(tag)?)
    }

    pub(crate) fn get_mut(&mut self, tag: &ShortString) -> Option<&mut Consumer> {
        self.slots.get_mut(*self.by_tag.get(tag)?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn tags(&self) -> Vec<ShortString> {
        self.by_tag.keys().cloned().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.slots.iter().map(|(_, consumer)| consumer)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.slots.iter_mut().map(|(_, consumer)| consumer)
    }

    /// Returns the slot of a delivery's consumer, and the size above which the consumer wants no
    /// bodies.
    pub(crate) fn find(&mut self, tag: &[u8]) -> Option<(usize, Option<u64>)> {
        let is_recent = |consumer: &&Consumer| consumer.subscription.tag().as_bytes() == tag;
        let consumer = match self.slots.get(self.recent).filter(is_recent) {
            Some(recent) => recent,
            None => {
                self.recent = *self.by_tag.get(tag)?;
                self.slots.get(self.recent)?
            }
        };
        Some((self.recent, consumer.subscription.withhold_over))
    }

    pub(crate) fn has_batches(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Hands the deliveries of one read to their consumers.
    pub(crate) fn put_batches(&mut self, wakes: &mut Vec<Waker>) {
        for index in self.touched.drain(..) {
            if let Some(consumer) = self.slots.get_mut(index) {
                let bytes = std::mem::take(&mut consumer.batch_bytes);
                wakes.extend(consumer.inbox.put(&mut consumer.batch, bytes));
            }
        }
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self, wakes: &mut Vec<Waker>) {
        self.touched.shrink_to(0);
        for consumer in self.iter_mut() {
            consumer.batch.shrink_to(0);
            wakes.extend(consumer.inbox.release());
        }
    }

    /// Returns the consumers to restart: those that are still wanted and need not wait.
    pub(crate) fn to_resume(&self) -> Vec<Subscription> {
        let wanted = self.iter().filter(|consumer| !consumer.dropped && !consumer.is_held);
        wanted.map(|consumer| consumer.subscription.clone()).collect()
    }

    /// Notes that the broker has given a queue another name.
    pub(crate) fn rename_queue(&mut self, old: &ShortString, new: &ShortString) {
        for consumer in self.iter_mut().filter(|consumer| consumer.is_of(old)) {
            consumer.subscription.consume.queue = new.clone();
        }
    }

    /// Returns the current name of a consumer's queue.
    pub(crate) fn queue_of(&self, tag: &ShortString) -> Option<&ShortString> {
        Some(&self.get(tag)?.subscription.consume.queue)
    }

    /// Tells whether any consumer is of this queue.
    pub(crate) fn any_of(&self, queue: &ShortString) -> bool {
        self.iter().any(|consumer| consumer.is_of(queue))
    }
}

/// These methods are for consumers that wait until the broker gives up what it reserves for a lost
/// connection.
impl Consumers {
    /// Sets whether a consumer is excluded from the restart with its channel, because the broker
    /// would refuse it and close the channel.
    pub(crate) fn set_held(&mut self, tag: &ShortString, is_held: bool) {
        if let Some(consumer) = self.get_mut(tag) {
            consumer.is_held = is_held;
        }
    }

    /// Excludes all consumers of a queue from the restart with their channel.
    pub(crate) fn hold_of(&mut self, queue: &ShortString) {
        for consumer in self.iter_mut() {
            consumer.is_held |= consumer.is_of(queue);
        }
    }

    /// Lets all consumers be restarted with their channel.
    pub(crate) fn hold_none(&mut self) {
        self.iter_mut().for_each(|consumer| consumer.is_held = false);
    }

    pub(crate) fn is_held(&self, tag: &ShortString) -> bool {
        self.get(tag).is_some_and(|consumer| consumer.is_held)
    }

    /// Returns the waiting consumers of a queue.
    pub(crate) fn held_of(&self, queue: &ShortString) -> Vec<ShortString> {
        let held = |consumer: &&Consumer| consumer.is_held && !consumer.dropped && consumer.is_of(queue);
        self.iter().filter(held).map(|consumer| consumer.subscription.tag().clone()).collect()
    }
}

impl Consumer {
    fn is_of(&self, queue: &ShortString) -> bool {
        self.subscription.consume.queue == *queue
    }
}
