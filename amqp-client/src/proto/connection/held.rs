//! What waits until the broker lets go of what it keeps for a connection that was lost. When it is tried again is for
//! `crate::holding`.

use amqp_codec::ShortString;

use super::{ChannelKey, Engine};
use crate::{error::Result, proto::calls::CallId};

impl Engine {
    /// A consumer is not to begin with its channel.
    pub(crate) fn hold_consumer(&mut self, key: ChannelKey, tag: &ShortString) {
        if let Some((channel, _)) = self.channel_of(key) {
            channel.hold_consumer(tag);
        }
    }

    /// As [`hold_consumer`](Self::hold_consumer), for all consumers of a queue.
    pub(crate) fn hold_consumers_of(&mut self, queue: &ShortString) {
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.hold_consumers_of(queue);
        }
    }

    /// A consumer is to begin with its channel again.
    pub(crate) fn release_consumer(&mut self, key: ChannelKey, tag: &ShortString) {
        if let Some((channel, _)) = self.channel_of(key) {
            channel.release_consumer(tag);
        }
    }

    pub(crate) fn is_consumer_held(&mut self, key: ChannelKey, tag: &ShortString) -> bool {
        self.channel_of(key).is_some_and(|(channel, _)| channel.is_consumer_held(tag))
    }

    /// The consumers of a queue that wait.
    pub(crate) fn held_consumers_of(&self, queue: &ShortString) -> Vec<(ChannelKey, ShortString)> {
        let channels = self.channels.iter().enumerate();
        let held = channels.filter_map(|(id, slot)| {
            let (epoch, channel) = slot.as_ref()?;
            let key = ChannelKey { id: id as u16, epoch: *epoch };
            Some(channel.held_consumers_of(queue).into_iter().map(move |tag| (key, tag)))
        });
        held.flatten().collect()
    }

    /// Begins a consumer that has waited; the call to wait for, `None` when its user has gone.
    ///
    /// # Errors
    /// [`Error::Recovering`](crate::Error::Recovering) while its channel is being restored itself, or why that has ended.
    pub(crate) fn resume_held_consumer(
        &mut self,
        key: ChannelKey,
        tag: &ShortString,
    ) -> Result<Option<CallId>> {
        let (channel, link) = self.open_channel_of(key)?;
        channel.resume_held_consumer(link, tag)
    }

    /// It has begun.
    pub(crate) fn consumer_resumed(&mut self, key: ChannelKey) {
        if let Some((channel, _)) = self.channel_of(key) {
            channel.consumer_resumed();
        }
    }
}
