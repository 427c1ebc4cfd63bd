//! The end of deliveries: acknowledged, dropped or requeued.

use crate::core::{
    effects::sink::Sink,
    entities::{
        channel::{Channel, Settled},
        ids::ChannelId,
        ready::NEVER,
        unacked::{Outcome, UnackedDelivery},
    },
    rabbitmq::{death::Reason, refusal::Refusal},
    vhost::Vhost,
    work::{Work, step::Step},
};

/// A client's settlement of deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    /// The delivery tag.
    pub(crate) tag: u64,
    /// Settles all deliveries up to the tag if set; with tag 0 all there are.
    pub(crate) multiple: bool,
    pub(crate) outcome: Outcome,
}

/// The deliveries that a settlement covers.
enum Covered {
    /// This one, which has been taken from its channel.
    One(UnackedDelivery),
    /// All up to this tag, which are still in their channel.
    UpTo(u64),
    /// This one returned to its queue when its consumer timed out.
    Returned,
}

impl Settlement {
    /// # Errors
    /// A tag that is not unacknowledged, except 0 for all.
    #[inline]
    fn cover(self, channel: &mut Channel) -> Result<Covered, Refusal> {
        let unacked = &mut channel.unacked;
        let covered = match (self.tag, self.multiple) {
            (0, true) => Some(Covered::UpTo(u64::MAX)),
            (tag, true) => {
                let is_there = unacked.contains(tag) || channel.timed_out.contains(&tag);
                is_there.then_some(Covered::UpTo(tag))
            }
            (tag, false) => match unacked.take(tag) {
                Some(delivery) => Some(Covered::One(delivery)),
                None => channel.timed_out.remove(&tag).then_some(Covered::Returned),
            },
        };
        if let Some(Covered::UpTo(tag)) = covered
            && !channel.timed_out.is_empty()
        {
            channel.timed_out = channel.timed_out.split_off(&tag.saturating_add(1));
        }
        covered.ok_or(Refusal::UnknownDeliveryTag(self.tag))
    }
}

impl Vhost {
    /// Acknowledges or refuses deliveries of a channel.
    ///
    /// # Errors
    /// A tag that is not unacknowledged, except 0 for all.
    pub(crate) fn settle(
        &mut self,
        now: u64,
        id: ChannelId,
        settlement: Settlement,
        sink: &mut impl Sink,
    ) -> Result<Step<(), Work>, Refusal> {
        let outcome = settlement.outcome;
        let Some(channel) = self.channels.get_mut(id) else { return Ok(Step::Done(())) };
        let step = match settlement.cover(channel)? {
            Covered::Returned => Step::Done(()),
            Covered::One(delivery) => {
                self.check_stream(&delivery, outcome)?;
                self.budget.spend(1);
                self.release(now, id, delivery, outcome);
                Step::Done(())
            }
            // Several deliveries may take several turns.
            Covered::UpTo(up_to) => match self.proceed_settling(now, id, up_to, outcome, sink)? {
                true => Step::Done(()),
                false => Step::Paused(Work::Settle { channel: id, up_to, outcome }),
            },
        };
        self.dispatch_woken(now, sink);
        Ok(step)
    }

    /// Continues to settle the deliveries of a channel up to a tag; returns whether that is done.
    pub(super) fn proceed_settling(
        &mut self,
        now: u64,
        id: ChannelId,
        up_to: u64,
        outcome: Outcome,
        sink: &mut impl Sink,
    ) -> Result<bool, Refusal> {
        while let Some(delivery) =
            self.channels.get_mut(id).and_then(|channel| channel.unacked.pop_up_to(up_to))
        {
            self.check_stream(&delivery, outcome)?;
            self.budget.spend(1);
            self.release(now, id, delivery, outcome);
            if self.dead_letters.is_crowded() {
                self.publish_dead_letters(now, sink);
                if self.dead_letters.is_crowded() {
                    return Ok(false);
                }
            }
            if self.budget.is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Refuses to reject from a stream, where the version does. This closes the connection, so it
    /// is checked before anything is requeued.
    #[inline]
    fn check_stream(&self, delivery: &UnackedDelivery, outcome: Outcome) -> Result<(), Refusal> {
        if outcome == Outcome::Acked || !self.profile.streams_refuse_rejections {
            return Ok(());
        }
        match self.queues.get(delivery.queue) {
            Some(queue) if queue.stream.is_some() => {
                let name = queue.name.to_text();
                Err(Refusal::NotImplemented(format!(
                    "basic.nack and basic.reject not supported by stream queues {}",
                    self.entity("queue", &name)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Notes a settlement until the transaction ends.
    ///
    /// # Errors
    /// A tag that is not unacknowledged, except 0 for all.
    pub(crate) fn settle_later(
        &mut self,
        id: ChannelId,
        settlement: Settlement,
    ) -> Result<Step<(), Work>, Refusal> {
        let Settlement { tag, outcome, .. } = settlement;
        let Some(channel) = self.channels.get_mut(id) else { return Ok(Step::Done(())) };
        Ok(match settlement.cover(channel)? {
            Covered::Returned => Step::Done(()),
            Covered::One(delivery) => {
                channel.settled.insert(tag, Settled { delivery, outcome });
                Step::Done(())
            }
            Covered::UpTo(up_to) => match self.proceed_settling_later(id, up_to, outcome) {
                true => Step::Done(()),
                false => Step::Paused(Work::SettleLater { channel: id, up_to, outcome }),
            },
        })
    }

    /// Continues to note settlements until the transaction ends; returns whether that is done.
    pub(super) fn proceed_settling_later(&mut self, id: ChannelId, up_to: u64, outcome: Outcome) -> bool {
        let Some(channel) = self.channels.get_mut(id) else { return true };
        while let Some(tag) = channel.unacked.first_tag().filter(|tag| *tag <= up_to) {
            if let Some(delivery) = channel.unacked.take(tag) {
                channel.settled.insert(tag, Settled { delivery, outcome });
            }
            self.budget.spend(1);
            if self.budget.is_over() {
                return false;
            }
        }
        true
    }

    /// Ends a delivery: its message is removed or requeued, and its consumer and channel have room
    /// again.
    pub(super) fn release(&mut self, now: u64, id: ChannelId, delivery: UnackedDelivery, outcome: Outcome) {
        let UnackedDelivery { entry, queue: queue_id, consumer, shared, .. } = delivery;
        let mut has_timer = outcome.returns() && entry.expires_at != NEVER;
        // The message leaves the queue for good, dies or returns.
        if let Some(queue) = self.queues.get_mut(queue_id) {
            queue.unacked = queue.unacked.saturating_sub(1);
            queue.unacked_bytes = queue.unacked_bytes.saturating_sub(entry.message.body_len() as u64);
            match outcome {
                _ if queue.stream.is_some() => {
                    queue.counters.acked += u64::from(outcome == Outcome::Acked);
                    self.messages.freed(&entry.message);
                }
                Outcome::Acked => {
                    queue.counters.acked += 1;
                    self.messages.left(queue.serial, &entry);
                }
                Outcome::Rejected => {
                    self.messages.left(queue.serial, &entry);
                    queue.dead_letter(
                        entry.message,
                        entry.kept,
                        Reason::Rejected,
                        &self.messages,
                        &mut self.dead_letters,
                    );
                }
                Outcome::Requeued | Outcome::Failed | Outcome::Abandoned => {
                    has_timer |= queue.arguments.delayed_retry.is_some();
                    queue.take_back(now, entry, outcome, &mut self.messages, &mut self.dead_letters);
                    // The queue may be too long now, which is checked before the next delivery.
                    self.wake(queue_id);
                }
            }
        } else {
            self.messages.freed(&entry.message);
        }
        if has_timer {
            self.arm(queue_id);
        }
        // The consumer and its channel have room for one more delivery.
        let mut is_waited_for = false;
        let channel = self.channels.get_mut(id);
        let Some(consumer) = consumer else {
            if let Some(channel) = channel {
                channel.counters.acked += u64::from(outcome == Outcome::Acked);
            }
            return;
        };
        if let Some(channel) = channel {
            channel.counters.acked += u64::from(outcome == Outcome::Acked);
            channel.in_flight = channel.in_flight.saturating_sub(1);
            channel.shared_in_flight = channel.shared_in_flight.saturating_sub(u32::from(shared));
            is_waited_for = channel.is_waited_for();
        }
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.unacked = consumer.unacked.saturating_sub(1);
        }
        self.line_up(consumer);
        if is_waited_for {
            self.relieve(id);
        }
    }
}
