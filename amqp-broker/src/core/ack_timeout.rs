//! Deliveries that are not acknowledged in time close their channel
//! (<https://www.rabbitmq.com/consumers.html#acknowledgement-timeout>).

use super::{ids::ChannelId, ready::NEVER, refusal::Refusal, sink::Sink, vhost::Vhost};

impl Vhost {
    /// Notes that a delivery went out which is to be acknowledged: sets the alarm when it is not set. That it is set by the
    /// first of many is early enough, for then it is set anew.
    #[inline]
    pub(super) fn watch_acks(&mut self, now: u64) {
        if self.acks_due == NEVER {
            self.acks_due = now.saturating_add(self.limits.ack_timeout);
        }
    }

    /// Ends the channels whose oldest delivery is out for too long, and sets the alarm for the next.
    pub(super) fn check_acks(&mut self, now: u64, sink: &mut impl Sink) {
        let timeout = self.limits.ack_timeout;
        let mut next = NEVER;
        let mut late: Vec<ChannelId> = Vec::new();
        for (id, channel) in self.channels.iter() {
            let Some(oldest) = channel.unacked.oldest() else { continue };
            let due = oldest.since.saturating_add(timeout);
            if due <= now {
                late.push(id);
            } else {
                next = next.min(due);
            }
        }
        self.acks_due = next;
        for id in late {
            let Some(channel) = self.channels.get(id) else { continue };
            let refusal = Refusal::AckTimeout { channel: channel.number, milliseconds: timeout };
            sink.close_channel(channel.connection, channel.number, &refusal);
            // At once, whether or not its connection is able to hear of it: others wait for these messages.
            self.close_channel(now, id, sink);
        }
    }
}
