//! What waits until the broker gives up what it reserves for a lost connection. `crate::holding`
//! decides when it is tried again.

use amqp_codec::ShortString;

use super::{ChannelKey, Engine};

impl Engine {
    /// Excludes all consumers of a queue from the restart with their channels.
    pub(crate) fn hold_consumers_of(&mut self, queue: &ShortString) {
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.consumers.hold_of(queue);
        }
    }

    /// Returns the waiting consumers of a queue.
    pub(crate) fn held_consumers_of(&self, queue: &ShortString) -> Vec<(ChannelKey, ShortString)> {
        let held = (0u16..).zip(&self.channels).filter_map(|(id, slot)| {
            let (epoch, channel) = slot.as_ref()?;
            let key = ChannelKey { id, epoch: *epoch };
            Some(channel.consumers.held_of(queue).into_iter().map(move |tag| (key, tag)))
        });
        held.flatten().collect()
    }
}
