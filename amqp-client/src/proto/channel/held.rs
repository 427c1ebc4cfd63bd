//! Consumers that wait until the broker lets go of what it keeps for a connection that was lost.

use amqp_codec::ShortString;

use super::Channel;
use crate::{
    error::Result,
    proto::{calls::CallId, link::Link},
};

impl Channel {
    /// A consumer is not to begin with its channel: the broker would refuse it, and close that.
    pub(crate) fn hold_consumer(&mut self, tag: &ShortString) {
        let index = self.by_tag.get(tag).copied();
        if let Some(consumer) = index.and_then(|index| self.consumers.get_mut(index)) {
            consumer.is_held = true;
        }
    }

    /// It is to begin with its channel again.
    pub(crate) fn release_consumer(&mut self, tag: &ShortString) {
        let index = self.by_tag.get(tag).copied();
        if let Some(consumer) = index.and_then(|index| self.consumers.get_mut(index)) {
            consumer.is_held = false;
        }
    }

    /// As [`hold_consumer`](Self::hold_consumer), for all of a queue.
    pub(crate) fn hold_consumers_of(&mut self, queue: &ShortString) {
        for (_, consumer) in &mut self.consumers {
            consumer.is_held |= consumer.subscription.consume.queue == *queue;
        }
    }

    /// Those of a queue that wait.
    pub(crate) fn held_consumers_of(&self, queue: &ShortString) -> Vec<ShortString> {
        let held = self.consumers.iter().filter(|(_, consumer)| {
            consumer.is_held && !consumer.dropped && consumer.subscription.consume.queue == *queue
        });
        held.map(|(_, consumer)| consumer.subscription.tag().clone()).collect()
    }

    /// Begins a consumer that has waited; the call to wait for, `None` when it waits no more. Until it
    /// [has begun](Self::consumer_resumed), a refusal of it has the channel opened again.
    pub(crate) fn resume_held_consumer(
        &mut self,
        link: &mut Link,
        tag: &ShortString,
    ) -> Result<Option<CallId>> {
        let index = self.by_tag.get(tag).copied();
        let consumer = index.and_then(|index| self.consumers.get_mut(index));
        if !consumer.is_some_and(|consumer| std::mem::take(&mut consumer.is_held)) {
            return Ok(None);
        }
        let call = self.resume_consumer(link, tag)?;
        self.resumes_held = call.is_some();
        Ok(call)
    }

    /// It has begun.
    pub(crate) fn consumer_resumed(&mut self) {
        self.resumes_held = false;
    }

    /// All are to begin with their channel.
    pub(crate) fn release_consumers(&mut self) {
        self.consumers.iter_mut().for_each(|(_, consumer)| consumer.is_held = false);
    }
}
