//! What can be seen of a virtual host from outside.

use std::collections::VecDeque;

use amqp_codec::{ShortString, Table};

use super::Vhost;
use crate::core::entities::{
    exchange::{Bound, Destination},
    ids::{ChannelId, ConnectionId, QueueId},
};

/// What it takes to look at one thing.
const UNITS: u64 = 4;

/// How far who looks at all there is of something has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    slot: usize,
    /// Of the exchange there, the number of the binding that is next.
    binding: u64,
    /// Whether all has been seen.
    pub(crate) is_end: bool,
}

/// What can be seen of a queue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Whether it was declared durable.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Whether it is one connection's own.
    pub exclusive: bool,
    /// What it was declared with.
    pub arguments: Table,
    /// Messages that wait.
    pub ready: usize,
    /// Messages that are with consumers or were got, and are not acknowledged.
    pub unacked: usize,
    /// Bytes of the bodies that wait.
    pub ready_bytes: u64,
    /// Consumers.
    pub consumers: usize,
}

/// What can be seen of an exchange. The default one is not to be seen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExchangeInfo {
    /// Its name.
    pub name: String,
    /// How it routes: `direct`, `fanout`, `topic` or `headers`.
    pub kind: String,
    /// Whether it was declared durable.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// What it was declared with.
    pub arguments: Table,
}

/// What can be seen of a binding. Those of queues to the default exchange are not to be seen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BindingInfo {
    /// The exchange messages come from.
    pub source: String,
    /// The queue or exchange they go to.
    pub destination: String,
    /// Whether that is an exchange, not a queue.
    pub to_exchange: bool,
    /// The routing key.
    pub routing_key: String,
    /// What it was bound with.
    pub arguments: Table,
}

/// What can be seen of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// Its number.
    pub number: u16,
    /// The tags of its consumers, in order.
    pub consumer_tags: Vec<String>,
    /// How many deliveries are not acknowledged, those that were got included.
    pub unacked: usize,
    /// The limit of unacknowledged deliveries that its next consumer gets; 0 is none.
    pub prefetch: u32,
    /// The limit of all its consumers together; 0 is none.
    pub shared_prefetch: u32,
}

impl Vhost {
    /// What can be seen of a queue; `None` when there is none of this name.
    pub(crate) fn queue_info(&mut self, name: &str, now: u64) -> Option<QueueInfo> {
        let id = *self.queue_names.get(name.as_bytes())?;
        self.queue_info_of(id, now)
    }

    /// What can be seen of queues: of as many as the turn allows, from a place on.
    pub(crate) fn queue_infos(&mut self, now: u64, place: &mut Place) -> Vec<QueueInfo> {
        let mut infos = Vec::new();
        while !self.budget.is_over() {
            let Some((id, _)) = self.queues.iter_from(place.slot).next() else {
                place.is_end = true;
                break;
            };
            place.slot = id.index() + 1;
            self.budget.spend(UNITS);
            infos.extend(self.queue_info_of(id, now));
        }
        infos
    }

    fn queue_info_of(&mut self, id: QueueId, now: u64) -> Option<QueueInfo> {
        let queue = self.queues.get_mut(id)?;
        queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
        Some(QueueInfo {
            name: queue.name.to_string(),
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            exclusive: queue.owner.is_some(),
            arguments: queue.table.clone(),
            ready: queue.len(),
            unacked: queue.unacked,
            ready_bytes: queue.ready.body_bytes(),
            consumers: queue.consumers.len(),
        })
    }

    /// What can be seen of exchanges: of as many as the turn allows, from a place on.
    pub(crate) fn exchange_infos(&mut self, place: &mut Place) -> Vec<ExchangeInfo> {
        let mut infos = Vec::new();
        for (id, exchange) in self.exchanges.iter_from(place.slot) {
            if self.budget.is_over() {
                return infos;
            }
            self.budget.spend(UNITS);
            place.slot = id.index() + 1;
            let declared = &exchange.declared;
            infos.push(ExchangeInfo {
                name: declared.name.to_string(),
                kind: declared.kind.name().to_owned(),
                durable: declared.durable,
                auto_delete: declared.auto_delete,
                internal: declared.internal,
                arguments: declared.arguments.clone(),
            });
        }
        place.is_end = true;
        infos
    }

    /// What can be seen of bindings: of as many as the turn allows, from a place on.
    pub(crate) fn binding_infos(&mut self, place: &mut Place) -> Vec<BindingInfo> {
        let mut infos = Vec::new();
        for (id, exchange) in self.exchanges.iter_from(place.slot) {
            if place.slot != id.index() {
                *place = Place { slot: id.index(), ..Place::default() };
            }
            for (number, bound) in exchange.bindings_from(place.binding) {
                if self.budget.is_over() {
                    return infos;
                }
                self.budget.spend(UNITS);
                place.binding = number + 1;
                infos.extend(self.binding_info(&exchange.declared.name, bound));
            }
            *place = Place { slot: id.index() + 1, ..Place::default() };
        }
        place.is_end = true;
        infos
    }

    fn binding_info(&self, source: &ShortString, bound: &Bound) -> Option<BindingInfo> {
        let (name, to_exchange) = match bound.destination {
            Destination::Queue(id) => (&self.queues.get(id)?.name, false),
            Destination::Exchange(id) => (&self.exchanges.get(id)?.declared.name, true),
        };
        Some(BindingInfo {
            source: source.to_string(),
            destination: name.to_string(),
            to_exchange,
            routing_key: bound.key.to_string(),
            arguments: bound.arguments.clone(),
        })
    }

    /// The channels of a connection.
    pub(crate) fn channels_of(&self, by: ConnectionId) -> VecDeque<ChannelId> {
        self.connections
            .get(by)
            .map(|connection| connection.channels.iter().copied().collect())
            .unwrap_or_default()
    }

    /// What can be seen of channels: of as many as the turn allows, which are taken away.
    pub(crate) fn channel_infos(&mut self, channels: &mut VecDeque<ChannelId>) -> Vec<ChannelInfo> {
        let mut infos = Vec::new();
        while !self.budget.is_over()
            && let Some(id) = channels.pop_front()
        {
            let Some(channel) = self.channels.get(id) else { continue };
            self.budget.spend(UNITS + channel.consumers.len() as u64);
            infos.push(info_of(channel));
        }
        infos
    }
}

fn info_of(channel: &crate::core::entities::channel::Channel) -> ChannelInfo {
    ChannelInfo {
        number: channel.number,
        consumer_tags: channel.consumers.keys().map(ToString::to_string).collect(),
        unacked: channel.unacked.len(),
        prefetch: channel.prefetch,
        shared_prefetch: channel.shared_prefetch,
    }
}

#[cfg(test)]
impl Vhost {
    /// Where in memory the bodies of all ready messages lie, once for each queue a message is in.
    pub(crate) fn body_addresses(&self) -> Vec<usize> {
        let queues = self.queue_names.values().filter_map(|id| self.queues.get(*id));
        let parts = queues.flat_map(|queue| queue.ready.iter()).map(|entry| entry.message.parts());
        parts.map(|parts| parts.large.first().map_or(parts.small, |part| part).as_ptr().addr()).collect()
    }
}
