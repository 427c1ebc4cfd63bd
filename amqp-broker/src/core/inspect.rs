//! What can be seen of a virtual host from outside.

use amqp_codec::Table;

use super::{
    exchange::Destination,
    ids::{ConnectionId, QueueId},
    vhost::Vhost,
};

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

    /// What can be seen of all queues, by name.
    pub(crate) fn queue_infos(&mut self, now: u64) -> Vec<QueueInfo> {
        let ids: Vec<_> = self.queue_names.values().copied().collect();
        let mut infos: Vec<_> = ids.into_iter().filter_map(|id| self.queue_info_of(id, now)).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    fn queue_info_of(&mut self, id: QueueId, now: u64) -> Option<QueueInfo> {
        let queue = self.queues.get_mut(id)?;
        queue.prune(now, &mut self.dead, &mut self.budget);
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

    /// What can be seen of all exchanges, by name.
    pub(crate) fn exchange_infos(&self) -> Vec<ExchangeInfo> {
        let exchanges = self.exchange_names.values().filter_map(|id| self.exchanges.get(*id));
        let info = exchanges.map(|exchange| {
            let declared = &exchange.declared;
            ExchangeInfo {
                name: declared.name.to_string(),
                kind: declared.kind.name().to_owned(),
                durable: declared.durable,
                auto_delete: declared.auto_delete,
                internal: declared.internal,
                arguments: declared.arguments.clone(),
            }
        });
        let mut infos: Vec<_> = info.collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// What can be seen of all bindings, by source, destination and key.
    pub(crate) fn binding_infos(&self) -> Vec<BindingInfo> {
        let mut infos = Vec::new();
        for exchange in self.exchange_names.values().filter_map(|id| self.exchanges.get(*id)) {
            for bound in exchange.bindings() {
                let (name, to_exchange) = match bound.destination {
                    Destination::Queue(id) => (self.queues.get(id).map(|queue| &queue.name), false),
                    Destination::Exchange(id) => {
                        (self.exchanges.get(id).map(|exchange| &exchange.declared.name), true)
                    }
                };
                let Some(name) = name else { continue };
                infos.push(BindingInfo {
                    source: exchange.declared.name.to_string(),
                    destination: name.to_string(),
                    to_exchange,
                    routing_key: bound.key.to_string(),
                    arguments: bound.arguments.clone(),
                });
            }
        }
        let place = |info: &BindingInfo| {
            (info.source.clone(), info.destination.clone(), info.to_exchange, info.routing_key.clone())
        };
        infos.sort_by_cached_key(place);
        infos
    }

    /// What can be seen of a connection's channels, by number.
    pub(crate) fn channel_infos(&self, by: ConnectionId) -> Vec<ChannelInfo> {
        let channels = self.connections.get(by).map_or(&[][..], |connection| &connection.channels);
        let mut infos: Vec<_> =
            channels.iter().filter_map(|id| self.channels.get(*id)).map(info_of).collect();
        infos.sort_by_key(|info| info.number);
        infos
    }
}

fn info_of(channel: &super::channel::Channel) -> ChannelInfo {
    let mut consumer_tags: Vec<_> = channel.consumers.keys().map(ToString::to_string).collect();
    consumer_tags.sort();
    ChannelInfo {
        number: channel.number,
        consumer_tags,
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
