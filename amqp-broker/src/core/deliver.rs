//! From queues to consumers, and what becomes of deliveries: acknowledged, dropped or put back.

use std::collections::VecDeque;

use super::{
    channel::{Channel, Settled},
    connection::Connection,
    consumer::Consumer,
    death::Reason,
    ids::{ChannelId, ConnectionId, ConsumerId, QueueId},
    journal::{Record, Stored},
    publication::Publication,
    queue::Queue,
    ready::{Entry, NEVER},
    refusal::Refusal,
    sink::{Delivery, Sink},
    stamp::stamped,
    unacked::{Held, Outcome},
    vhost::Vhost,
};

/// What a client says about deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    /// The delivery tag.
    pub(crate) tag: u64,
    /// All up to the tag; with tag 0 all there are.
    pub(crate) multiple: bool,
    pub(crate) outcome: Outcome,
}

impl Vhost {
    /// Delivers what is ready to who is ready, in all queues where the operation changed something.
    pub(super) fn dispatch_woken(&mut self, now: u64, sink: &mut impl Sink) {
        while let Some(channel) = self.relieved.pop() {
            self.resume_waiting(now, channel, sink);
        }
        let mut woken = std::mem::take(&mut self.woken);
        for id in woken.drain(..) {
            self.dispatch(now, id, sink);
        }
        self.woken = woken;
        if !self.dead.is_empty() {
            self.bury(now, sink);
        }
    }

    /// Delivers what is ready in a queue as long as a consumer is ready.
    pub(super) fn dispatch(&mut self, now: u64, id: QueueId, sink: &mut impl Sink) {
        if let Some(queue) = self.queues.get_mut(id) {
            queue.expire(now, &mut self.dead);
        }
        if self.queues.get(id).is_some_and(|queue| queue.stream.is_some()) {
            self.dispatch_stream(now, id, sink);
            return;
        }
        while self.dispatch_next(now, id, sink) {}
    }

    /// Takes the next message of a queue, if a consumer is ready; tells whether there was one.
    #[inline]
    fn dispatch_next(&mut self, now: u64, id: QueueId, sink: &mut impl Sink) -> bool {
        if self.queues.get(id).is_none_or(|queue| queue.ready.is_empty()) {
            return false;
        }
        let Some(consumer) = self.ready_consumer(id) else { return false };
        let Some(mut route) = self.way_to(id, consumer) else { return false };
        let Some(entry) = route.queue.ready.pop() else { return false };
        // What has expired behind others is seen when its own turn comes.
        if entry.expires_at <= now {
            if let Some(queue) = self.queues.get(id) {
                self.dead.left(queue.serial, &entry);
                queue.mourn(entry.message, Reason::Expired, &mut self.dead);
            }
            return true;
        }
        let (serial, gone) = (route.queue.serial, route.consumer.no_ack && entry.stored);
        let gone = gone.then(|| entry.clone());
        route.deliver_entry(now, entry, sink);
        if let Some(gone) = gone {
            self.dead.left(serial, &gone);
        }
        self.watch_acks(now);
        // Another message is at the head now.
        self.arm(id);
        true
    }

    /// Delivers to the consumers that wait for a channel's limit, a message each and round again, as long as it has room.
    fn resume_waiting(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) {
        let mut round = VecDeque::new();
        while let Some(queue) = self.resume_next(now, id, sink).or_else(|| round.pop_front()) {
            // Who finds no room here waits again, in this order.
            if self.dispatch_next(now, queue, sink) {
                round.push_back(queue);
            }
        }
    }

    /// Lets the consumer whose turn it is line up, if its channel has room; tells where.
    fn resume_next(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) -> Option<QueueId> {
        let channel = self.channels.get_mut(id)?;
        if self.connections.get(channel.connection).is_none_or(|owner| owner.congested) {
            return None;
        }
        let consumer_id = channel.next_turn()?;
        let consumer = self.consumers.get_mut(consumer_id)?;
        consumer.ticket = None;
        let (queue_id, priority) = (consumer.queue, consumer.priority);
        let queue = self.queues.get_mut(queue_id)?;
        if queue.stream.is_some() {
            self.way_to(queue_id, consumer_id)?.deliver_record(now, sink);
            self.wake(queue_id);
        } else if !std::mem::replace(&mut consumer.in_line, true) {
            queue.line_up_first(consumer_id, priority);
            queue.expire(now, &mut self.dead);
        }
        Some(queue_id)
    }

    /// Delivers from a stream to each of its consumers as long as it has room.
    pub(super) fn dispatch_stream(&mut self, now: u64, id: QueueId, sink: &mut impl Sink) {
        let mut index = 0;
        while let Some(&consumer) = self.queues.get(id).and_then(|queue| queue.consumers.get(index)) {
            if let Some(mut way) = self.way_to(id, consumer) {
                while way.deliver_record(now, sink) {}
                way.wait_for_channel();
            }
            index += 1;
        }
        self.watch_acks(now);
    }

    /// The consumer of a queue that gets the next message. Those without room leave the line on the way.
    #[inline]
    pub(super) fn ready_consumer(&mut self, id: QueueId) -> Option<ConsumerId> {
        let queue = self.queues.get_mut(id)?;
        loop {
            let next = queue.next_in_line()?;
            let Some(consumer) = self.consumers.get_mut(next) else {
                queue.leave_line();
                continue;
            };
            let able = if consumer.has_room() && queue.is_active(next) {
                self.channels.get_mut(consumer.channel).filter(|channel| {
                    self.connections.get(channel.connection).is_some_and(|owner| !owner.congested)
                })
            } else {
                None
            };
            if able.as_ref().is_some_and(|channel| channel.has_room(consumer.shares)) {
                return Some(next);
            }
            consumer.in_line = false;
            queue.leave_line();
            if let Some(channel) = able {
                channel.wait(next, consumer);
            }
        }
    }

    /// Delivers a message that was just published.
    #[inline]
    pub(super) fn deliver_new(
        &mut self,
        now: u64,
        id: QueueId,
        consumer: ConsumerId,
        publication: &mut Publication<'_>,
        sink: &mut impl Sink,
    ) {
        let Some(mut route) = self.way_to(id, consumer) else { return };
        if route.consumer.no_ack {
            route.send(publication.parts(), false, sink);
            return;
        }
        let mut entry = route.queue.entry(publication.message(), publication.terms, now);
        entry.stored = route.queue.keeps(publication.is_persistent);
        let stored = entry.stored.then(|| Stored::new(route.queue.serial, &entry));
        route.deliver_entry(now, entry, sink);
        if let Some(stored) = stored {
            self.journal.record(Record::Stored(stored));
        }
        self.watch_acks(now);
    }

    #[inline]
    fn way_to(&mut self, queue_id: QueueId, consumer_id: ConsumerId) -> Option<Way<'_>> {
        let consumer = self.consumers.get_mut(consumer_id)?;
        let channel = self.channels.get_mut(consumer.channel)?;
        let connection = self.connections.get_mut(channel.connection)?;
        let queue = self.queues.get_mut(queue_id)?;
        Some(Way { queue_id, queue, consumer_id, consumer, channel, connection })
    }

    /// Acknowledges or refuses deliveries of a channel.
    ///
    /// # Errors
    /// A tag that is not out, unless it is 0 for all.
    pub(crate) fn settle(
        &mut self,
        now: u64,
        id: ChannelId,
        settlement: Settlement,
        sink: &mut impl Sink,
    ) -> Result<(), Refusal> {
        let Settlement { tag, multiple, outcome } = settlement;
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        if tag != 0 && !channel.unacked.contains(tag) || tag == 0 && !multiple {
            return Err(Refusal::UnknownDeliveryTag(tag));
        }
        if multiple {
            let up_to = if tag == 0 { u64::MAX } else { tag };
            while let Some(held) =
                self.channels.get_mut(id).and_then(|channel| channel.unacked.pop_up_to(up_to))
            {
                self.check_stream(&held, outcome)?;
                self.release(id, held, outcome);
            }
        } else if let Some(held) = channel.unacked.take(tag) {
            self.check_stream(&held, outcome)?;
            self.release(id, held, outcome);
        }
        self.dispatch_woken(now, sink);
        Ok(())
    }

    /// From a stream nothing can be refused. It is the end of the connection, so that nothing is put back before.
    #[inline]
    fn check_stream(&self, held: &Held, outcome: Outcome) -> Result<(), Refusal> {
        match self.queues.get(held.queue) {
            Some(queue) if outcome != Outcome::Acked && queue.stream.is_some() => {
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
    /// A tag that is not out, unless it is 0 for all.
    pub(crate) fn settle_later(&mut self, id: ChannelId, settlement: Settlement) -> Result<(), Refusal> {
        let Settlement { tag, multiple, outcome } = settlement;
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        if tag != 0 && !channel.unacked.contains(tag) || tag == 0 && !multiple {
            return Err(Refusal::UnknownDeliveryTag(tag));
        }
        let tags: Vec<u64> = match (multiple, tag) {
            (false, tag) => vec![tag],
            (true, 0) => channel.unacked.tags_up_to(u64::MAX).collect(),
            (true, tag) => channel.unacked.tags_up_to(tag).collect(),
        };
        for tag in tags {
            if let Some(held) = channel.unacked.take(tag) {
                channel.settled.push(Settled { tag, held, outcome });
            }
        }
        Ok(())
    }

    /// Ends a transaction's part that concerns deliveries: what was settled is settled.
    pub(crate) fn commit_settled(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) {
        let settled = self.channels.get_mut(id).map(|channel| std::mem::take(&mut channel.settled));
        for Settled { held, outcome, .. } in settled.unwrap_or_default() {
            self.release(id, held, outcome);
        }
        self.dispatch_woken(now, sink);
    }

    /// Ends a transaction's part that concerns deliveries: what was settled is unacknowledged again.
    pub(crate) fn rollback_settled(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id) {
            let settled = std::mem::take(&mut channel.settled);
            channel.unacked.restore(settled.into_iter().map(|settled| (settled.tag, settled.held)));
        }
    }

    /// Puts all unacknowledged deliveries of a channel back, and delivers them anew.
    pub(crate) fn recover(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) {
        self.release_all(id, Outcome::Requeued);
        self.dispatch_woken(now, sink);
    }

    /// Puts all unacknowledged deliveries of a channel back.
    pub(super) fn release_all(&mut self, id: ChannelId, outcome: Outcome) {
        while let Some(held) =
            self.channels.get_mut(id).and_then(|channel| channel.unacked.pop_up_to(u64::MAX))
        {
            self.release(id, held, outcome);
        }
    }

    /// Ends a delivery: its message goes or returns, its consumer and channel have room again.
    pub(super) fn release(&mut self, id: ChannelId, held: Held, outcome: Outcome) {
        let Held { entry, queue: queue_id, consumer, shared, .. } = held;
        let returns = matches!(outcome, Outcome::Requeued | Outcome::Abandoned);
        let expires = returns && entry.expires_at != NEVER;
        if let Some(queue) = self.queues.get_mut(queue_id) {
            queue.unacked = queue.unacked.saturating_sub(1);
            queue.unacked_weight = queue.unacked_weight.saturating_sub(entry.message.weight());
            match outcome {
                Outcome::Acked => self.dead.left(queue.serial, &entry),
                Outcome::Rejected => {
                    self.dead.left(queue.serial, &entry);
                    queue.mourn(entry.message, Reason::Rejected, &mut self.dead);
                }
                Outcome::Requeued | Outcome::Abandoned => {
                    let by_client = outcome == Outcome::Requeued;
                    queue.take_back(entry, by_client, &mut self.dead);
                    // It may be one too many now.
                    queue.drop_overflow(&mut self.dead);
                    self.wake(queue_id);
                }
            }
        }
        if expires {
            self.arm(queue_id);
        }
        let Some(consumer) = consumer else { return };
        let mut is_waited_for = false;
        if let Some(channel) = self.channels.get_mut(id) {
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

    /// Notes that a channel may have room for consumers that wait for it.
    pub(super) fn relieve(&mut self, id: ChannelId) {
        if self.relieved.last() != Some(&id) {
            self.relieved.push(id);
        }
    }

    /// Lets all consumers of a channel line up.
    pub(super) fn line_up_channel(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get(id) else { return };
        let consumers: Vec<_> = channel.consumers.values().copied().collect();
        for consumer in consumers {
            self.line_up(consumer);
        }
    }

    /// Lets a consumer line up for its queue's messages, unless it stands there already or waits for its channel.
    #[inline]
    pub(super) fn line_up(&mut self, id: ConsumerId) {
        let idle = |consumer: &&mut Consumer| !consumer.in_line && consumer.ticket.is_none();
        let Some(consumer) = self.consumers.get_mut(id).filter(idle) else { return };
        let (queue_id, priority) = (consumer.queue, consumer.priority);
        if let Some(queue) = self.queues.get_mut(queue_id) {
            // In a stream nobody waits for anybody else.
            if queue.stream.is_some() {
                self.wake(queue_id);
                return;
            }
            consumer.in_line = true;
            queue.line_up(id, priority);
            self.wake(queue_id);
        }
    }

    /// A connection has room for deliveries again.
    pub(crate) fn drained(&mut self, now: u64, id: ConnectionId, sink: &mut impl Sink) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !std::mem::take(&mut connection.congested) {
            return;
        }
        for channel in connection.channels.clone() {
            self.line_up_channel(channel);
            self.relieve(channel);
        }
        self.dispatch_woken(now, sink);
    }
}

/// All that a delivery passes.
struct Way<'a> {
    queue_id: QueueId,
    queue: &'a mut Queue,
    consumer_id: ConsumerId,
    consumer: &'a mut Consumer,
    channel: &'a mut Channel,
    connection: &'a mut Connection,
}

impl Way<'_> {
    /// Lets the consumer wait for its channel, if that is what it lacks.
    fn wait_for_channel(&mut self) {
        if !self.connection.congested
            && self.consumer.has_room()
            && !self.channel.has_room(self.consumer.shares)
        {
            self.channel.wait(self.consumer_id, self.consumer);
        }
    }

    /// Sends a stream's consumer the next message; tells whether there was one, and room for it.
    fn deliver_record(&mut self, now: u64, sink: &mut impl Sink) -> bool {
        if self.connection.congested
            || !self.consumer.has_room()
            || !self.channel.has_room(self.consumer.shares)
        {
            return false;
        }
        let Some(log) = &self.queue.stream else { return false };
        let Some((offset, message)) = log.at(self.consumer.offset) else { return false };
        let message = message.clone();
        self.consumer.offset = offset + 1;
        // What cannot be read cannot be stamped: it goes as it came.
        let header = stamped(message.parts().header, "x-stream-offset", offset).ok();
        let mut parts = message.parts();
        if let Some(header) = &header {
            parts.header = header;
        }
        let tag = self.send(parts, false, sink);
        let entry = Entry {
            message,
            position: offset,
            expires_at: NEVER,
            priority: 0,
            redelivered: false,
            returns: 0,
            stored: false,
        };
        self.hold(now, tag, entry);
        true
    }

    /// Sends a message of the queue and keeps it until it is acknowledged.
    #[inline]
    fn deliver_entry(&mut self, now: u64, entry: Entry, sink: &mut impl Sink) {
        let header = entry.header();
        let mut parts = entry.message.parts();
        if let Some(header) = &header {
            parts.header = header;
        }
        let tag = self.send(parts, entry.redelivered, sink);
        if !self.consumer.no_ack {
            self.hold(now, tag, entry);
        }
    }

    /// Keeps a message until it is acknowledged.
    #[inline]
    fn hold(&mut self, now: u64, tag: u64, entry: Entry) {
        self.consumer.unacked += 1;
        self.channel.in_flight += 1;
        self.channel.shared_in_flight += u32::from(self.consumer.shares);
        self.queue.unacked += 1;
        self.queue.unacked_weight += entry.message.weight();
        let (consumer, shared) = (Some(self.consumer_id), self.consumer.shares);
        let held = Held { entry, queue: self.queue_id, since: now, consumer, shared };
        self.channel.unacked.push(tag, held);
    }

    /// Sends a message; tells its delivery tag.
    #[inline]
    fn send(&mut self, parts: super::message::Parts<'_>, redelivered: bool, sink: &mut impl Sink) -> u64 {
        let tag = self.channel.next_tag();
        let delivery = Delivery {
            channel: self.channel.number,
            consumer_tag: &self.consumer.tag,
            tag,
            redelivered,
            parts,
        };
        if !sink.deliver(self.channel.connection, delivery) {
            self.connection.congested = true;
        }
        self.queue.rotate();
        tag
    }
}
