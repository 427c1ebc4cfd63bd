//! The timeout of consumers, where only quorum queues have one: deliveries that are not settled in
//! time return, and their consumer ends. A client that is not told of that loses its channel
//! (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>).

use std::collections::BTreeSet;

use crate::core::{
    effects::sink::Sink,
    entities::{
        ids::{ChannelId, ConsumerId},
        ready::NEVER,
        unacked::{AcksChecked, Outcome, UnackedDelivery},
    },
    rabbitmq::{arguments::QueueType, refusal::Refusal},
    vhost::Vhost,
    work::{Work, removal::Removal},
};

/// The number of a channel's returned deliveries that are remembered: its client may settle them.
const MOST_REMEMBERED: usize = 1 << 16;

/// A channel with deliveries that are overdue.
struct Overdue {
    channel: ChannelId,
    tags: Vec<u64>,
    /// The shortest timeout of them, in milliseconds.
    timeout: u64,
}

impl Vhost {
    /// Returns the deliveries that are overdue, ends their consumers, and sets the alarm for the
    /// next; as far as the turn allows.
    pub(super) fn check_consumers(&mut self, now: u64, sink: &mut impl Sink) {
        // Deliveries that are sent during an interruption are due later than all that are found
        // now.
        let AcksChecked { mut place, mut due } =
            self.acks_checked.take().unwrap_or(AcksChecked { place: 0, due: NEVER });
        let mut overdue = Vec::new();
        for (channel, deliveries) in self.channels.iter_from(place) {
            if self.budget.is_over() {
                let due = due.min(now.saturating_add(self.least_ack_timeout));
                self.acks_checked = Some(AcksChecked { place, due });
                break;
            }
            self.budget.spend(1 + deliveries.unacked.len() as u64 / 8);
            place = channel.index() + 1;
            let mut found = Overdue { channel, tags: Vec::new(), timeout: NEVER };
            for (tag, delivery) in deliveries.unacked.iter() {
                let Some(timeout) = self.timeout_of(delivery) else { continue };
                match delivery.since.saturating_add(timeout) {
                    late_since if late_since <= now => {
                        found.tags.push(tag);
                        found.timeout = found.timeout.min(timeout);
                    }
                    later => due = due.min(later),
                }
            }
            if !found.tags.is_empty() {
                overdue.push(found);
            }
        }
        if self.acks_checked.is_none() {
            self.acks_due = due;
        }
        for found in overdue {
            self.time_out(now, found, sink);
        }
    }

    /// Returns the time that a delivery may stay unacknowledged: its consumer's, or else its
    /// queue's, or else the broker's. `None` for one that has no timeout.
    fn timeout_of(&self, delivery: &UnackedDelivery) -> Option<u64> {
        let queue = self.queues.get(delivery.queue)?;
        if queue.arguments.kind != QueueType::Quorum || delivery.consumer.is_none() {
            return None;
        }
        let own = delivery.consumer.and_then(|id| self.consumers.get(id)?.timeout);
        Some(own.or(queue.arguments.consumer_timeout).unwrap_or(self.limits.ack_timeout))
    }

    fn time_out(&mut self, now: u64, overdue: Overdue, sink: &mut impl Sink) {
        let Overdue { channel: id, tags, timeout } = overdue;
        let Some(channel) = self.channels.get(id) else { return };
        let (connection, number) = (channel.connection, channel.number);
        if !self.connections.get(connection).is_some_and(|owner| owner.cancel_notify) {
            let refusal = Refusal::AckTimeout { channel: number, milliseconds: timeout };
            sink.close_channel(connection, number, &refusal);
            self.background.abandon(Work::Remove(Box::new(Removal::channel(id))));
            return;
        }
        let consumers: BTreeSet<ConsumerId> = channel
            .unacked
            .iter()
            .filter(|(tag, _)| tags.binary_search(tag).is_ok())
            .filter_map(|(_, delivery)| delivery.consumer)
            .collect();
        // The messages return first, and the consumers, which are gone then, do not get them again.
        let mut ended = Vec::new();
        for consumer in consumers {
            let Some(tag) = self.consumers.get(consumer).map(|consumer| consumer.tag.clone()) else {
                continue;
            };
            self.leave_queue(now, consumer);
            if let Some(channel) = self.channels.get_mut(id) {
                channel.consumers.remove(&tag);
            }
            ended.push(tag);
        }
        for tag in tags {
            self.budget.spend(1);
            let Some(channel) = self.channels.get_mut(id) else { break };
            let Some(delivery) = channel.unacked.take(tag) else { continue };
            if channel.timed_out.len() >= MOST_REMEMBERED {
                channel.timed_out.pop_first();
            }
            channel.timed_out.insert(tag);
            // It counts as returned, and not as failed.
            self.release(now, id, delivery, Outcome::Requeued);
        }
        for tag in ended {
            sink.cancel(connection, number, &tag);
        }
    }
}
