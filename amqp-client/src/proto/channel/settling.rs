//! How deliveries are settled: acks that gather, nacks and rejects.

use amqp_codec::method::basic;

use super::Channel;
use crate::{
    error::{Error, Result},
    proto::link::Link,
};

impl Channel {
    /// Sends the waiting acks. It is called before any other frame of the channel, so that frames
    /// leave in the order of the calls.
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

    /// Tells whether the waiting acks should leave now, because the prefetch may soon stop the
    /// broker. They need not leave only because the user has settled all deliveries: with most of
    /// the prefetch free, waking the driver for each batch costs more than the batch.
    #[inline]
    pub(crate) fn acks_are_urgent(&self) -> bool {
        self.acks.waiting() >= self.ack_batch
    }

    /// Limits the batch of acks to a fraction of the prefetch, so that they leave well before a
    /// consumer has used it up.
    pub(crate) fn limit_ack_batch(&mut self, prefetch: u16) {
        if prefetch > 0 {
            self.ack_batch = self.ack_batch.min(usize::from(prefetch / 4)).max(1);
        }
    }

    /// Notes that a delivery was settled.
    #[inline]
    pub(crate) fn settled(&mut self, link: &mut Link) {
        self.drain_waiters.wake_all(&mut link.wakes);
    }

    /// Nacks one unsettled delivery.
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

    /// Settles a delivery for which a frame is to be sent. Returns its tag on the wire, and whether
    /// it is from a stream. Messages of a stream can be neither requeued nor dropped: RabbitMQ
    /// closes the connection (540) for a nack or reject, so an ack is sent, upon which it
    /// continues.
    fn settle_with_frame(&mut self, link: &mut Link, tag: u64) -> Option<(u64, bool)> {
        self.flush_acks(link);
        let holder = self.acks.settle(tag)?;
        self.settled(link);
        Some((tag - self.tags_before, self.acks.holders.is_of_stream(holder)))
    }

    /// Refuses to settle deliveries of a lost connection, because the broker has requeued them.
    #[inline]
    pub(crate) fn check_fresh(&self, tag: u64) -> Result<()> {
        if tag > self.tags_before { Ok(()) } else { Err(Error::StaleDelivery { channel: self.id }) }
    }
}
