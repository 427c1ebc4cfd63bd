//! The acknowledgement timeout: deliveries that are not acknowledged in time close their channel
//! (<https://www.rabbitmq.com/consumers.html#acknowledgement-timeout>).

use super::Vhost;
use crate::core::{
    effects::sink::Sink,
    entities::{ids::ChannelId, ready::NEVER, unacked::AcksChecked},
    rabbitmq::refusal::Refusal,
    work::{Work, removal::Removal},
};

impl Vhost {
    /// Notes a delivery that has to be acknowledged, and sets the alarm unless it is set. Only the
    /// first of many deliveries sets it; when the alarm goes off, it is set for the next.
    #[inline]
    pub(super) fn watch_acks(&mut self, now: u64) {
        if self.acks_due == NEVER {
            self.acks_due = now.saturating_add(self.least_ack_timeout);
        }
    }

    /// Notes that a queue or a consumer has this timeout: the alarm goes off early enough for it.
    pub(super) fn expect_timeout(&mut self, now: u64, timeout: u64) {
        if timeout < self.least_ack_timeout {
            self.least_ack_timeout = timeout;
            if self.acks_due != NEVER {
                self.acks_due = self.acks_due.min(now.saturating_add(timeout));
            }
        }
    }

    /// Ends the channels whose oldest delivery is overdue, and sets the alarm for the next; as far
    /// as the turn allows.
    pub(super) fn check_acks(&mut self, now: u64, sink: &mut impl Sink) {
        let timeout = self.limits.ack_timeout;
        // Deliveries that are sent during an interruption are due later than all that are found
        // now.
        let AcksChecked { mut place, mut due } =
            self.acks_checked.take().unwrap_or(AcksChecked { place: 0, due: NEVER });
        let mut late: Vec<ChannelId> = Vec::new();
        for (id, channel) in self.channels.iter_from(place) {
            if self.budget.is_over() {
                self.acks_checked = Some(AcksChecked { place, due: due.min(now.saturating_add(timeout)) });
                break;
            }
            self.budget.spend(1);
            place = id.index() + 1;
            let Some(oldest) = channel.unacked.oldest() else { continue };
            match oldest.since.saturating_add(timeout) {
                late_since if late_since <= now => late.push(id),
                later => due = due.min(later),
            }
        }
        if self.acks_checked.is_none() {
            self.acks_due = due;
        }
        for id in late {
            let Some(channel) = self.channels.get(id) else { continue };
            let refusal = Refusal::AckTimeout { channel: channel.number, milliseconds: timeout };
            sink.close_channel(channel.connection, channel.number, &refusal);
            // The channel ends at once, even if its connection cannot be told yet, because others
            // wait for these messages.
            self.background.abandon(Work::Remove(Box::new(Removal::channel(id))));
        }
    }
}
