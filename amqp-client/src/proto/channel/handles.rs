//! What handles do with a channel.

use std::time::{Duration, Instant};

use amqp_codec::{
    Method, ShortString,
    method::{basic, channel},
};

use super::{Channel, Due, Phase};
use crate::{
    error::{Error, Result},
    proto::{
        calls::CallId, expects::Expects, ground::waiters::Waiters, link::Link,
        publishing::confirms::Confirms, registry::Registry,
    },
};

impl Channel {
    /// Sends a method that will be answered; the answer goes to `call`, to nobody when that is `None`.
    pub(crate) fn request(
        &mut self,
        link: &mut Link,
        mut method: Method,
        mut expects: Expects,
        call: Option<CallId>,
    ) -> Result<()> {
        self.flush_acks(link);
        self.name_queue(link, &mut method, &mut expects);
        let request = to_record(link, &method);
        let qos = match &method {
            Method::Basic(basic::Method::Qos(qos)) if qos.global => Some(qos.clone()),
            _ => None,
        };
        link.send_method(self.id, method)?;
        self.qos = qos.or(self.qos.take());
        if matches!(expects, Expects::Recover) {
            self.acks.forget();
            self.recovering += 1;
            self.drain_waiters.wake_all(&mut link.wakes);
        }
        self.due.push_back(Due { call, expects, request });
        Ok(())
    }

    /// Sends a method that is not answered unless it is refused, which ends the channel.
    pub(crate) fn send_no_wait(&mut self, link: &mut Link, method: Method) -> Result<()> {
        self.flush_acks(link);
        let request = to_record(link, &method);
        self.declared_no_wait(&method);
        link.send_method(self.id, method)?;
        if let (Some(registry), Some(mut request)) = (&mut link.registry, request) {
            self.name_answered_queue(&mut request);
            registry.apply(request, None);
        }
        Ok(())
    }

    /// Whether there is room in the window of unconfirmed publishes, and the broker has not stopped the flow.
    #[inline]
    pub(crate) fn may_publish(&self, link: &Link) -> bool {
        !self.flow_stopped && self.confirms.as_ref().is_none_or(|confirms| link.window.has_room(confirms))
    }

    /// Has those woken that wait for room in the window, if there is any.
    pub(crate) fn wake_if_room(&mut self, link: &mut Link) {
        if self.may_publish(link) {
            self.window_waiters.wake_all(&mut link.wakes);
        }
    }

    /// The answer to a publish is waited for no more.
    pub(crate) fn give_up_confirm(&mut self, link: &mut Link, tag: u64) {
        if let Some(confirms) = &mut self.confirms {
            confirms.give_up(tag, &mut link.wakes);
            if confirms.in_flight() == 0 {
                self.drain_waiters.wake_all(&mut link.wakes);
            }
            self.wake_if_room(link);
        }
    }

    /// Sends the acks that wait: before any other frame of the channel, so that all leave in the order of the calls.
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

    /// Whether the acks that wait should leave now: the broker may soon have nothing it is allowed to send. That the user has
    /// acked all there was is no such reason: with most of the prefetch free, waking the driver for each batch that is read
    /// costs more than the batch.
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

    /// The wire's tag of a delivery that is settled otherwise than by an ack; and whether it is of a stream, of which nothing goes back
    /// or away: RabbitMQ takes a nack or reject for a reason to close the connection (540), and an ack to send on.
    fn settle_with_frame(&mut self, link: &mut Link, tag: u64) -> Option<(u64, bool)> {
        self.flush_acks(link);
        let holder = self.acks.settle(tag)?;
        self.settled(link);
        Some((tag - self.tags_before, self.acks.holders.is_of_stream(holder)))
    }

    /// Refuses to settle what was delivered on a connection that was lost: the broker has taken it back.
    #[inline]
    pub(crate) fn check_fresh(&self, tag: u64) -> Result<()> {
        if tag > self.tags_before { Ok(()) } else { Err(Error::StaleDelivery { channel: self.id }) }
    }

    /// Asks for no more deliveries: each consumer ends when the broker has agreed.
    pub(crate) fn cancel_consumers(&mut self, link: &mut Link) {
        let tags: Vec<_> = self.by_tag.keys().cloned().collect();
        for tag in tags {
            self.cancel_consumer(link, &tag);
        }
    }

    /// Asks for no more deliveries to one consumer, unless that has been asked for.
    pub(crate) fn cancel_consumer(&mut self, link: &mut Link, tag: &ShortString) {
        // The broker does not know it.
        if self.lost_for().is_some() || self.is_consumer_held(tag) {
            return self.remove_consumer(link, tag, None);
        }
        if self.by_tag.contains_key(tag) && !self.is_being_cancelled(tag) {
            let cancel = basic::Cancel { consumer_tag: tag.clone(), no_wait: false };
            // Its tag came from the broker in a frame, so it fits into one.
            let _ = self.request(link, cancel.into(), Expects::Cancel { tag: tag.clone() }, None);
        }
    }

    /// Whether there is nothing left to do: no consumer, nothing unacked, nothing unconfirmed.
    pub(crate) fn is_drained(&self) -> bool {
        self.consumers.is_empty()
            && self.acks.is_idle()
            && self.confirms.as_ref().is_none_or(|confirms| confirms.in_flight() == 0)
    }

    pub(crate) fn is_being_cancelled(&self, tag: &ShortString) -> bool {
        let is_asked = |due: &Due| matches!(&due.expects, Expects::Cancel { tag: other } if other == tag);
        self.due.iter().any(is_asked)
    }

    /// The tags of the consumers whose cancel is not answered.
    pub(super) fn being_cancelled(&self) -> Vec<ShortString> {
        let cancelled = self.due.iter().filter_map(|due| match &due.expects {
            Expects::Cancel { tag } => Some(tag.clone()),
            _ => None,
        });
        cancelled.collect()
    }

    /// Futures that wait for something of the channel, its calls and confirms apart.
    pub(crate) fn waiting(&self) -> usize {
        let waiters = [&self.end_waiters, &self.drain_waiters, &self.window_waiters];
        waiters.into_iter().map(Waiters::len).sum::<usize>()
            + self.confirms.as_ref().map_or(0, Confirms::flushing)
    }

    /// For how long the oldest delivery has been held, when that is over `limit` and was not told before.
    pub(crate) fn held_too_long(&mut self, now: Instant, limit: Duration) -> Option<Duration> {
        let arrived = self.acks.oldest()?;
        let held = now.saturating_duration_since(arrived);
        if held < limit || self.warned_of == Some(arrived) {
            return None;
        }
        self.warned_of = Some(arrived);
        Some(held)
    }

    /// Something is done that a transaction has to be committed for.
    #[inline]
    pub(crate) fn works(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.has_work = true;
        }
    }

    /// Whether the transaction is not whole any more: a part of it was on a connection that was lost.
    pub(crate) fn has_lost_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.is_lost)
    }

    /// Asks for the channel's end.
    pub(crate) fn close(&mut self, link: &mut Link, call: Option<CallId>) {
        let close = channel::Close { reply_code: 200, ..Default::default() };
        // A close without text always fits.
        if self.request(link, close.into(), Expects::Close, call).is_ok() {
            self.phase = Phase::Closing;
        }
    }

    /// A consumer's handle was dropped: cancels it and gives back what nobody will process.
    pub(crate) fn drop_consumer(&mut self, link: &mut Link, tag: &ShortString) {
        let Some(&index) = self.by_tag.get(tag) else { return };
        let Some(consumer) = self.consumers.get_mut(index) else { return };
        if std::mem::replace(&mut consumer.dropped, true) {
            return;
        }
        let (unread, _) = consumer.inbox.drain(); // the cancel wakes the driver, which looks at the backlog
        if self.is_live() {
            for delivery in unread.iter().filter(|delivery| delivery.may_be_given_back()) {
                self.nack(link, delivery.tag, true);
            }
        }
        if !self.is_closing() {
            self.cancel_consumer(link, tag);
        }
    }
}

/// What the registry is to know once it is done.
fn to_record(link: &Link, method: &Method) -> Option<Method> {
    (link.registry.is_some() && Registry::concerns(method)).then(|| method.clone())
}
