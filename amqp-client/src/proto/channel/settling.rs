//! Deliveries that their user settles: acks that gather, nacks and rejects.

use amqp_codec::method::basic;

use super::Channel;
use crate::{
    error::{Error, Result},
    proto::link::Link,
};

impl Channel {
    /// Sends the acks that wait: before any other frame of the channel, so that all leave in the
    /// order of the calls.
    #[inline]
    pub(crate) fn flush_acks(&mut self, link: &mut Link) -> usize {
        let waiting = self.acks.waiting();
        if waiting > 0 {
            let id = self.id;
            let before = self.tags_before;
            self.acks.take(|ack| {
                link.reply(id, &basic::Ack { delivery_tag: ack.tag - before, multiple: ack.multiple });
            });
        }
        waiting
    }

    /// Whether the acks that wait should leave now: the broker may soon have nothing it is allowed
    /// to send. That the user has acked all there was is no such reason: with most of the prefetch
    /// free, waking the driver for each batch that is read costs more than the batch.
    #[inline]
    pub(crate) fn acks_are_urgent(&self) -> bool {
        self.acks.waiting() >= self.ack_batch
    }

    /// A consumer may have this many deliveries outstanding: acks leave well before it has.
    pub(crate) fn limit_ack_batch(&mut self, prefetch: u16) {
        if prefetch > 0 {
            self.ack_batch = self.ack_batch.min(usize::from(prefetch / 4)).max(1);
        }
    }

    /// The user has settled a delivery.
    #[inline]
    pub(crate) fn settled(&mut self, link: &mut Link) {
        self.drain_waiters.wake_all(&mut link.wakes);
    }

    /// Gives one outstanding delivery back.
    pub(crate) fn nack(&mut self, link: &mut Link, tag: u64, requeue: bool) {
        match self.settle_with_frame(link, tag) {
            Some((delivery_tag, false)) => {
                link.reply(self.id, &basic::Nack { delivery_tag, multiple: false, requeue });
            }
            Some((delivery_tag, true)) => link.reply(self.id, &basic::Ack { delivery_tag, multiple: false }),
            None => {}
        }
    }

    pub(crate) fn reject(&mut self, link: &mut Link, tag: u64, requeue: bool) {
        match self.settle_with_frame(link, tag) {
            Some((delivery_tag, false)) => link.reply(self.id, &basic::Reject { delivery_tag, requeue }),
            Some((delivery_tag, true)) => link.reply(self.id, &basic::Ack { delivery_tag, multiple: false }),
            None => {}
        }
    }

    /// The wire's tag of a delivery that is settled otherwise than by an ack; and whether it is of
    /// a stream, of which nothing goes back or away: RabbitMQ takes a nack or reject for a reason
    /// to close the connection (540), and an ack to send on.
    fn settle_with_frame(&mut self, link: &mut Link, tag: u64) -> Option<(u64, bool)> {
        self.flush_acks(link);
        let holder = self.acks.settle(tag)?;
        self.settled(link);
        Some((tag - self.tags_before, self.acks.holders.is_of_stream(holder)))
    }

    /// Refuses to settle what was delivered on a connection that was lost: the broker has taken it
    /// back.
    #[inline]
    pub(crate) fn check_fresh(&self, tag: u64) -> Result<()> {
        if tag > self.tags_before { Ok(()) } else { Err(Error::StaleDelivery { channel: self.id }) }
    }
}
