//! Delivery from queues to consumers.

use std::collections::VecDeque;

use super::Vhost;
use crate::core::{
    effects::{
        delivery_path::{DeliveryPath, StreamRead},
        sink::Sink,
    },
    entities::{
        consumer::Consumer,
        ids::{ChannelId, ConsumerId, QueueId},
    },
    journal::records::{Record, Stored},
    rabbitmq::death::Reason,
    work::publication::Publication,
};

impl Vhost {
    /// Delivers a queue's messages while a consumer has room and the turn lasts.
    pub(super) fn dispatch(&mut self, now: u64, id: QueueId, sink: &mut impl Sink) {
        self.budget.spend(1);
        let Some(queue) = self.queues.get_mut(id) else { return };
        if !queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget) {
            self.woken.push_back(id);
            return;
        }
        let is_stream = queue.stream.is_some();
        // The message at the head may be another one now.
        self.arm(id);
        if is_stream {
            self.dispatch_stream(now, id, sink);
            return;
        }
        while self.dispatch_next(now, id, sink) {
            if self.budget.is_over() {
                self.woken.push_back(id);
                return;
            }
        }
    }

    /// Takes the next message of a queue, if a consumer has room; returns whether there was one.
    #[inline]
    fn dispatch_next(&mut self, now: u64, id: QueueId, sink: &mut impl Sink) -> bool {
        if self.queues.get(id).is_none_or(|queue| queue.ready.is_empty()) {
            return false;
        }
        let Some(consumer) = self.ready_consumer(id) else { return false };
        // The borrow is split by fields, so that all entities on the path can change together.
        let Vhost { consumers, channels, connections, queues, messages, dead_letters, budget, .. } = self;
        let path = DeliveryPath::find(consumers, channels, connections, queues, (id, consumer));
        let Some(mut path) = path else { return false };
        let Some(entry) = path.queue.ready.pop() else { return false };
        budget.spend(1);
        let serial = path.queue.serial;
        // Expired messages behind others are found when they reach the head.
        if entry.expires_at <= now {
            messages.left(serial, &entry);
            path.queue.dead_letter(entry.message, entry.kept, Reason::Expired, messages, dead_letters);
            return true;
        }
        if path.consumer.no_ack {
            messages.left(serial, &entry);
        }
        budget.spend_octets(entry.message.copied());
        let traced =
            self.is_traced.then(|| (entry.message.clone(), entry.redelivered, path.consumer.channel));
        path.deliver_entry(now, entry, sink);
        // The message at the head is another one now.
        let is_due_earlier = path.queue.deadline() < path.queue.timer;
        if let Some((message, redelivered, channel)) = traced {
            self.trace_delivery(channel, id, message.parts(), redelivered);
        }
        self.watch_acks(now);
        if is_due_earlier {
            self.arm(id);
        }
        true
    }

    /// Delivers to consumers that wait for the channel's limit, one message each in turn, while the
    /// channel has room and the turn lasts.
    pub(super) fn resume_waiting(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) {
        let mut round = VecDeque::new();
        while let Some(queue) = self.resume_next(now, id, sink).or_else(|| round.pop_front()) {
            self.budget.spend(1);
            // A consumer that finds no room waits again, in the same order.
            if self.dispatch_next(now, queue, sink) {
                round.push_back(queue);
            }
            if self.budget.is_over() {
                self.woken.extend(round);
                self.relieved.push(id);
                return;
            }
        }
    }

    /// Lets the consumer whose turn it is line up, if its channel has room; returns its queue.
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
            let profile = self.profile;
            let read = self.path_to(queue_id, consumer_id)?.deliver_record(now, profile, sink);
            self.note_record(read, queue_id, id);
            self.wake(queue_id);
        } else if !std::mem::replace(&mut consumer.in_line, true) {
            queue.line_up_first(consumer_id, priority);
            queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
        }
        Some(queue_id)
    }

    /// Delivers a stream's messages to each of its consumers, while they have room and the turn
    /// lasts.
    pub(super) fn dispatch_stream(&mut self, now: u64, id: QueueId, sink: &mut impl Sink) {
        let profile = self.profile;
        while let Some(queue) = self.queues.get_mut(id) {
            // Consumers take turns in the order of their numbers; an interruption continues here.
            let Some((&number, &consumer)) = queue.consumers.range(queue.next_consumer..).next() else {
                queue.next_consumer = 0;
                break;
            };
            queue.next_consumer = number;
            self.budget.spend(1);
            let Some(channel) = self.consumers.get(consumer).map(|consumer| consumer.channel) else {
                continue;
            };
            while !self.budget.is_over() {
                let read = {
                    let path = self.path_to(id, consumer);
                    path.and_then(|mut path| path.deliver_record(now, profile, sink))
                };
                if !self.note_record(read, id, channel) {
                    break;
                }
            }
            if self.budget.is_over() {
                self.woken.push_back(id);
                break;
            }
            // The consumer has all there is, or no room.
            if let Some(mut path) = self.path_to(id, consumer) {
                path.wait_for_channel();
            }
            if let Some(queue) = self.queues.get_mut(id) {
                queue.next_consumer = number + 1;
            }
        }
        self.watch_acks(now);
    }

    /// Counts the delivery of a stream's message, if there was one; returns whether there was one
    /// to read.
    fn note_record(&mut self, read: Option<StreamRead>, from: QueueId, to: ChannelId) -> bool {
        self.budget.spend(1);
        let message = match read {
            None => return false,
            Some(StreamRead::Filtered) => return true,
            Some(StreamRead::Sent(message)) => message,
        };
        self.budget.spend_octets(message.copied());
        self.messages.entered(&message);
        if self.is_traced() {
            self.trace_delivery(to, from, message.parts(), false);
        }
        true
    }

    /// The consumer of a queue that gets the next message. Consumers without room leave the line.
    #[inline]
    pub(super) fn ready_consumer(&mut self, id: QueueId) -> Option<ConsumerId> {
        let queue = self.queues.get_mut(id)?;
        loop {
            let next = queue.next_in_line()?;
            // A consumer that is gone leaves the line when its turn comes.
            let Some(consumer) = self.consumers.get_mut(next) else {
                queue.leave_line();
                continue;
            };
            // Its own prefetch, its queue and its connection must allow the delivery, then its
            // channel.
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
            // It has no room and leaves the line. If only the channel is full, it waits for that.
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
        self.budget.spend_octets(publication.copied());
        let Vhost { consumers, channels, connections, queues, .. } = self;
        let path = DeliveryPath::find(consumers, channels, connections, queues, (id, consumer));
        let Some(mut path) = path else { return };
        let to = path.consumer.channel;
        // Without acknowledgement the message is sent and never stored.
        if path.consumer.no_ack {
            path.send(publication.parts(), false, sink);
            if self.is_traced() {
                self.trace_delivery(to, id, publication.parts(), false);
            }
            return;
        }
        // Otherwise it is stored as unacknowledged, and recorded if it is persistent.
        let queue = &mut *path.queue;
        let mut entry = queue.entry(publication.message(), publication.terms, now);
        self.messages.entered(&entry.message);
        let stored = queue.keeps(publication.is_persistent).then(|| {
            entry.kept = self.messages.journal.groups.kept();
            entry.stored(queue.serial)
        });
        let traced = self.is_traced.then(|| entry.message.clone());
        path.deliver_entry(now, entry, sink);
        if let Some(stored) = stored {
            self.keep(stored);
        }
        if let Some(message) = traced {
            self.trace_delivery(to, id, message.parts(), false);
        }
        self.watch_acks(now);
    }

    /// Records a persistent message in the journal.
    #[inline]
    pub(super) fn keep(&mut self, stored: Stored) {
        let record = Record::Stored(stored);
        match self.messages.journal.groups.current() {
            Some(group) => group.push(record),
            None => self.messages.journal.record(record),
        }
    }

    #[inline]
    fn path_to(&mut self, queue_id: QueueId, consumer_id: ConsumerId) -> Option<DeliveryPath<'_>> {
        let Vhost { consumers, channels, connections, queues, .. } = self;
        DeliveryPath::find(consumers, channels, connections, queues, (queue_id, consumer_id))
    }

    /// Notes that a channel may have room for its waiting consumers.
    pub(super) fn relieve(&mut self, id: ChannelId) {
        if self.relieved.last() != Some(&id) {
            self.relieved.push(id);
        }
    }

    /// Lets a consumer line up for its queue's messages, unless it is in the line already or waits
    /// for its channel.
    #[inline]
    pub(super) fn line_up(&mut self, id: ConsumerId) {
        let idle = |consumer: &&mut Consumer| !consumer.in_line && consumer.ticket.is_none();
        let Some(consumer) = self.consumers.get_mut(id).filter(idle) else { return };
        let (queue_id, priority) = (consumer.queue, consumer.priority);
        if let Some(queue) = self.queues.get_mut(queue_id) {
            // Consumers of a stream do not compete for messages.
            if queue.stream.is_some() {
                self.wake(queue_id);
                return;
            }
            consumer.in_line = true;
            queue.line_up(id, priority);
            self.wake(queue_id);
        }
    }
}
