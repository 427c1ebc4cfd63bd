//! Removes connections, channels, queues and exchanges with all that is theirs, a bounded part of
//! it in each turn.

use super::commit::forget;
use crate::core::{
    effects::sink::Sink,
    entities::{
        channel::{Channel, Settled},
        connection::Connection,
        ids::{ChannelId, ConnectionId, ExchangeId, QueueId},
        queue::Queue,
        unacked::Outcome,
    },
    journal::records::Record,
    vhost::Vhost,
    work::removal::{EndingChannel, Removal, RemovedExchange, RemovedQueue},
};

impl Vhost {
    /// Closes a connection: its channels end, and its exclusive queues are deleted.
    pub(crate) fn leave(&mut self, id: ConnectionId) -> Removal {
        let Some(connection) = self.connections.get_mut(id) else { return Removal::default() };
        // A closing connection gets no more deliveries.
        connection.congested = true;
        connection.cancel_notify = false;
        connection.is_leaving = true;
        Removal {
            channels: std::mem::take(&mut connection.channels).into(),
            queues: std::mem::take(&mut connection.exclusive_queues).into_iter().collect(),
            ..Removal::default()
        }
    }

    /// Removes a connection that is lost: as [`leave`](Self::leave), and at the end the connection
    /// itself is removed.
    pub(crate) fn disconnect(&mut self, id: ConnectionId) -> Removal {
        Removal { connection: Some(id), ..self.leave(id) }
    }

    /// Continues a removal as far as the turn allows; returns whether it is done.
    pub(crate) fn proceed_removal(&mut self, now: u64, removal: &mut Removal, sink: &mut impl Sink) -> bool {
        loop {
            if self.dead_letters.is_crowded() {
                self.publish_dead_letters(now, sink);
            }
            self.budget.spend(1);
            if !self.remove_next(now, removal, sink) {
                return true;
            }
            if self.budget.is_over() || self.dead_letters.is_crowded() {
                return false;
            }
        }
    }

    /// Does one step; returns whether there was one to do.
    fn remove_next(&mut self, now: u64, removal: &mut Removal, sink: &mut impl Sink) -> bool {
        // A removal that has begun is finished first, so that little is half removed at any time.
        if let Some(publishes) = removal.publishes.last_mut() {
            if forget(publishes, &mut self.budget) {
                removal.publishes.pop();
            }
        } else if let Some(mut removed) = removal.queue.take() {
            if self.empty_queue(&mut removed, removal, sink) {
                removal.queue = Some(removed);
            }
        } else if let Some(mut removed) = removal.exchange.take() {
            if self.unbind_exchange(&mut removed, removal) {
                removal.exchange = Some(removed);
            }
        } else if let Some(id) = removal.exchanges.pop_front() {
            removal.exchange = self.begin_exchange(id);
        } else if let Some(mut ending) = removal.channel.take() {
            if self.empty_channel(now, &mut ending, removal) {
                removal.channel = Some(ending);
            }
        } else if let Some(id) = removal.channels.pop_front() {
            removal.channel = self.begin_channel(id);
        } else if let Some(id) = removal.queues.pop_front() {
            removal.queue = self.begin_queue(id);
        } else if let Some(id) = removal.connection.take() {
            let was_there = u64::from(self.connections.remove(id).is_some());
            self.counters.churn.connections_closed += was_there;
            self.entities_weight -= Connection::WEIGHT * was_there;
        } else {
            return false;
        }
        true
    }

    /// Takes the queue's name away, which makes it unreachable for everybody.
    fn begin_queue(&mut self, id: QueueId) -> Option<Box<RemovedQueue>> {
        let mut queue = self.queues.remove(id)?;
        self.count_deleted(&queue);
        if queue.serial != 0 {
            let record = Record::QueueDeleted { serial: queue.serial };
            // Groups that are written later must not write messages for this queue.
            self.messages.journal.groups.note_in_all(&record);
            self.messages.journal.record(record);
        }
        self.queue_names.remove(&queue.name);
        self.routes_version += 1;
        if let Some(owner) = queue.owner.and_then(|owner| self.connections.get_mut(owner)) {
            owner.exclusive_queues.remove(&id);
        }
        let sources = std::mem::take(&mut queue.sources);
        self.dying_bindings += sources.len();
        Some(Box::new(RemovedQueue { queue, sources: sources.into_iter() }))
    }

    /// Removes one thing from a deleted queue; returns whether there was one.
    fn empty_queue(
        &mut self,
        removed: &mut RemovedQueue,
        removal: &mut Removal,
        sink: &mut impl Sink,
    ) -> bool {
        let RemovedQueue { queue, sources } = removed;
        if let Some((source, number)) = sources.next() {
            self.dying_bindings -= 1;
            self.cut(source, number, removal);
        } else if let Some((_, consumer)) = queue.consumers.pop_first() {
            self.end_consumer(consumer, sink);
        } else if let Some(entry) = queue.ready.pop_any() {
            self.messages.freed(&entry.message);
        } else if let Some(message) = queue.stream.as_mut().and_then(|log| log.pop()) {
            self.messages.freed(&message);
        } else {
            self.entities_weight -= queue.weight();
            return false;
        }
        true
    }

    /// Takes the exchange's name away, which makes it unreachable for everybody.
    fn begin_exchange(&mut self, id: ExchangeId) -> Option<Box<RemovedExchange>> {
        let mut exchange = self.exchanges.remove(id)?;
        if exchange.serial != 0 {
            self.messages.journal.record(Record::ExchangeDeleted { serial: exchange.serial });
        }
        self.routes_version += 1;
        self.exchange_names.remove(&exchange.declared.name);
        let sources = std::mem::take(&mut exchange.sources);
        self.dying_bindings += exchange.binding_count() + sources.len();
        Some(Box::new(RemovedExchange { id, exchange, sources: sources.into_iter() }))
    }

    /// Removes one binding of a deleted exchange; returns whether there was one.
    fn unbind_exchange(&mut self, removed: &mut RemovedExchange, removal: &mut Removal) -> bool {
        if let Some((number, bound)) = removed.exchange.unbind_first() {
            self.bindings -= 1;
            self.dying_bindings -= 1;
            self.entities_weight -= removed.exchange.binding_weight(&bound.key, &bound.arguments);
            self.forget_source(bound.destination, (removed.id, number));
        } else if let Some((source, number)) = removed.sources.next() {
            self.dying_bindings -= 1;
            self.cut(source, number, removal);
        } else {
            self.entities_weight -= removed.exchange.declared.weight();
            return false;
        }
        true
    }

    /// Removes a binding to a deleted destination; an auto-delete exchange goes with its last one.
    fn cut(&mut self, source: ExchangeId, number: u64, removal: &mut Removal) {
        if self.unbind_found(source, number) {
            removal.exchanges.push_back(source);
        }
    }

    /// Begins to end a channel: from now on it gets no deliveries.
    fn begin_channel(&mut self, id: ChannelId) -> Option<EndingChannel> {
        self.end_replies(id);
        let channel = self.channels.get_mut(id)?;
        channel.end();
        let mut consumers: Vec<_> = channel.consumers.drain().map(|(_, consumer)| consumer).collect();
        // Sorting makes their order deterministic.
        consumers.sort_unstable();
        self.budget.spend(consumers.len() as u64 / 4);
        let settled = std::mem::take(&mut channel.settled);
        if let Some(connection) = self.connections.get_mut(channel.connection) {
            connection.channels.retain(|channel| *channel != id);
        }
        Some(EndingChannel { id, consumers: consumers.into(), settled, left: Default::default() })
    }

    /// Removes one thing from a channel that ends; returns whether there was one. Consumers go
    /// first, so that no requeued message comes back to this channel.
    fn empty_channel(&mut self, now: u64, ending: &mut EndingChannel, removal: &mut Removal) -> bool {
        if let Some(consumer) = ending.consumers.pop_front() {
            ending.left.extend(self.leave_queue(now, consumer));
        } else if self.release_next(now, ending) {
        } else if let Some(queue) = ending.left.pop_front() {
            let is_to_go = self.queues.get(queue).is_some_and(Queue::is_to_go);
            removal.queues.extend(is_to_go.then_some(queue));
        } else {
            if let Some(channel) = self.channels.remove(ending.id) {
                self.count_closed(&channel);
                self.entities_weight -= Channel::WEIGHT;
            }
            return false;
        }
        true
    }

    /// Requeues the oldest delivery of a channel that ends; returns whether there was one.
    fn release_next(&mut self, now: u64, ending: &mut EndingChannel) -> bool {
        let Some(channel) = self.channels.get_mut(ending.id) else { return false };
        let settled = ending.settled.first_key_value().map(|(tag, _)| *tag);
        let delivery = match (channel.unacked.first_tag(), settled) {
            (Some(tag), Some(settled)) if settled < tag => {
                ending.settled.pop_first().map(|(_, Settled { delivery, .. })| delivery)
            }
            (None, Some(_)) => ending.settled.pop_first().map(|(_, Settled { delivery, .. })| delivery),
            _ => channel.unacked.pop_up_to(u64::MAX),
        };
        let Some(delivery) = delivery else { return false };
        self.release(now, ending.id, delivery, Outcome::Abandoned);
        true
    }
}
