//! What waits until the broker lets go of what it keeps for a connection that was lost. When it is
//! tried again is for `crate::holding`.

use amqp_codec::ShortString;

use super::{ChannelKey, Engine};

impl Engine {
    /// All consumers of a queue are not to begin with their channels.
    pub(crate) fn hold_consumers_of(&mut self, queue: &ShortString) {
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.consumers.hold_of(queue);
        }
    }

    /// The consumers of a queue that wait.
    pub(crate) fn held_consumers_of(&self, queue: &ShortString) -> Vec<(ChannelKey, ShortString)> {
        let held = (0u16..).zip(&self.channels).filter_map(|(id, slot)| {
            let (epoch, channel) = slot.as_ref()?;
            let key = ChannelKey { id, epoch: *epoch };
            Some(channel.consumers.held_of(queue).into_iter().map(move |tag| (key, tag)))
        });
        held.flatten().collect()
    }
}
