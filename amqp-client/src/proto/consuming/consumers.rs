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
    /// How it began, and begins again.
    pub(crate) subscription: Subscription,
    pub(crate) inbox: Arc<Inbox>,
    /// Deliveries of the read under way.
    pub(crate) batch: VecDeque<RawDelivery>,
    /// The size of those.
    pub(crate) batch_bytes: usize,
    /// Under which its unsettled deliveries are counted; `None` when nothing is to be settled.
    pub(crate) holder: Option<Holder>,
    /// So many of those are no breach of its prefetch.
    pub(crate) unsettled_limit: u32,
    /// It waits until the broker lets go of what it keeps for a connection that was lost.
    pub(crate) is_held: bool,
    /// Its handle was dropped, or it has ended: what still arrives goes back to the queue.
    pub(crate) dropped: bool,
}

#[derive(Default)]
pub(crate) struct Consumers {
    pub(crate) slots: Slab<Consumer>,
    by_tag: HashMap<ShortString, usize>,
    /// The consumer of the last delivery, which is often that of the next.
    recent: usize,
    /// Those with a batch to be put into their inbox.
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

    /// The slot of a delivery's consumer, and over which size that wants no bodies.
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

    /// Gives back what a quiet channel does not need.
    pub(crate) fn release(&mut self, wakes: &mut Vec<Waker>) {
        self.touched.shrink_to(0);
        for consumer in self.iter_mut() {
            consumer.batch.shrink_to(0);
            wakes.extend(consumer.inbox.release());
        }
    }

    /// Those that were there and have not begun again: they are wanted on.
    pub(crate) fn to_resume(&self) -> Vec<Subscription> {
        let wanted = self.iter().filter(|consumer| !consumer.dropped && !consumer.is_held);
        wanted.map(|consumer| consumer.subscription.clone()).collect()
    }

    /// The broker has given a queue another name.
    pub(crate) fn rename_queue(&mut self, old: &ShortString, new: &ShortString) {
        for consumer in self.iter_mut().filter(|consumer| consumer.is_of(old)) {
            consumer.subscription.consume.queue = new.clone();
        }
    }

    /// The queue that a consumer is of, by its present name.
    pub(crate) fn queue_of(&self, tag: &ShortString) -> Option<&ShortString> {
        Some(&self.get(tag)?.subscription.consume.queue)
    }

    /// Whether one is of this queue.
    pub(crate) fn any_of(&self, queue: &ShortString) -> bool {
        self.iter().any(|consumer| consumer.is_of(queue))
    }
}

/// Those that wait until the broker lets go of what it keeps for a connection that was lost.
impl Consumers {
    /// Whether one is not to begin with its channel: the broker would refuse it, and close that.
    pub(crate) fn set_held(&mut self, tag: &ShortString, is_held: bool) {
        if let Some(consumer) = self.get_mut(tag) {
            consumer.is_held = is_held;
        }
    }

    /// All of a queue are not to begin with their channel.
    pub(crate) fn hold_of(&mut self, queue: &ShortString) {
        for consumer in self.iter_mut() {
            consumer.is_held |= consumer.is_of(queue);
        }
    }

    /// All are to begin with their channel.
    pub(crate) fn hold_none(&mut self) {
        self.iter_mut().for_each(|consumer| consumer.is_held = false);
    }

    pub(crate) fn is_held(&self, tag: &ShortString) -> bool {
        self.get(tag).is_some_and(|consumer| consumer.is_held)
    }

    /// Those of a queue that wait.
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
