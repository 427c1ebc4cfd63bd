//! Inspection of a virtual host.

use std::collections::VecDeque;

use amqp_codec::{ShortString, Table};

use super::Vhost;
use crate::core::{
    entities::{
        exchange::{Bound, Destination, Exchange},
        ids::{ChannelId, ConnectionId, QueueId},
    },
    rabbitmq::policies::{
        policy::{Policy, PolicyInfo},
        vhost_policies::Policies,
    },
};

/// The work of inspecting one entity.
const UNITS: u64 = 4;

/// How far a complete inspection has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InspectionCursor {
    slot: usize,
    /// The number of the next binding of the current exchange.
    binding: u64,
    /// Whether all has been inspected.
    pub(crate) is_end: bool,
}

#[cfg(feature = "management")]
impl InspectionCursor {
    /// The slot of the next entity.
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    /// Goes on behind the entity in this slot.
    pub(crate) fn pass(&mut self, slot: usize) {
        self.slot = slot + 1;
    }
}

/// The state of a queue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Whether it was declared durable.
    pub durable: bool,
    /// Whether it is deleted with its last consumer.
    pub auto_delete: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// The arguments of its declaration.
    pub arguments: Table,
    /// How many messages are ready.
    pub ready: usize,
    /// How many messages are delivered or fetched, and not acknowledged.
    pub unacked: usize,
    /// How many bytes the bodies of the ready messages have.
    pub ready_bytes: u64,
    /// How many consumers it has.
    pub consumers: usize,
    /// The name of the policy that applies to it.
    pub policy: Option<String>,
    /// The name of the operator policy that applies to it.
    pub operator_policy: Option<String>,
}

/// The state of an exchange. The default exchange is not included.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExchangeInfo {
    /// Its name.
    pub name: String,
    /// How it routes: `direct`, `fanout`, `topic` or `headers`.
    pub kind: String,
    /// Whether it was declared durable.
    pub durable: bool,
    /// Whether it is deleted with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// The arguments of its declaration.
    pub arguments: Table,
    /// The name of the policy that applies to it.
    pub policy: Option<String>,
    /// The name of the operator policy that applies to it.
    pub operator_policy: Option<String>,
}

/// A binding. Those of queues to the default exchange are not included.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BindingInfo {
    /// The exchange that messages come from.
    pub source: String,
    /// The queue or exchange that messages go to.
    pub destination: String,
    /// Whether the destination is an exchange and not a queue.
    pub to_exchange: bool,
    /// The routing key.
    pub routing_key: String,
    /// The arguments of the binding.
    pub arguments: Table,
}

/// The state of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// Its number.
    pub number: u16,
    /// The tags of its consumers, in order.
    pub consumer_tags: Vec<String>,
    /// How many deliveries are unacknowledged, messages fetched with `basic.get` included.
    pub unacked: usize,
    /// The prefetch limit of its next consumer; 0 is none.
    pub prefetch: u32,
    /// The prefetch limit that all its consumers share; 0 is none.
    pub shared_prefetch: u32,
}

/// The state of an exchange.
pub(super) fn exchange_info(exchange: &Exchange, policies: &Policies) -> ExchangeInfo {
    let declared = &exchange.declared;
    let applied = policies.of_exchange(declared.name.as_bytes());
    let named = |policy: Option<&Policy>| policy.map(|policy| policy.name.to_string());
    ExchangeInfo {
        name: declared.name.to_string(),
        kind: declared.kind.name().to_owned(),
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        internal: declared.internal,
        arguments: declared.arguments.clone(),
        policy: named(applied.policy),
        operator_policy: named(applied.operator_policy),
    }
}

impl Vhost {
    /// The state of a queue; `None` when there is none of this name.
    pub(crate) fn queue_info(&mut self, name: &str, now: u64) -> Option<QueueInfo> {
        let id = *self.queue_names.get(name.as_bytes())?;
        self.queue_info_of(id, now)
    }

    /// The states of queues from a position on, as many as the turn allows.
    pub(crate) fn queue_infos(&mut self, now: u64, place: &mut InspectionCursor) -> Vec<QueueInfo> {
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
        self.budget.spend(self.policy_units());
        let applied = self.policies_of(id)?;
        let named = |policy: Option<&Policy>| policy.map(|policy| policy.name.to_string());
        let (policy, operator_policy) = (named(applied.policy), named(applied.operator_policy));
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
            policy,
            operator_policy,
        })
    }

    /// The states of exchanges from a position on, as many as the turn allows.
    pub(crate) fn exchange_infos(&mut self, place: &mut InspectionCursor) -> Vec<ExchangeInfo> {
        let mut infos = Vec::new();
        for (id, exchange) in self.exchanges.iter_from(place.slot) {
            if self.budget.is_over() {
                return infos;
            }
            self.budget.spend(UNITS + 1 + self.policies.len() as u64);
            place.slot = id.index() + 1;
            infos.push(exchange_info(exchange, &self.policies));
        }
        place.is_end = true;
        infos
    }

    /// Continues a list of the policies, as far as the turn allows; returns whether it is complete.
    pub(crate) fn policy_infos(&mut self, infos: &mut Vec<PolicyInfo>) -> bool {
        let last = infos.last().cloned();
        for policy in self.policies.after(last.as_ref()) {
            if self.budget.is_over() {
                return false;
            }
            self.budget.spend(UNITS + policy.definition.as_encoded().len() as u64 / 64);
            infos.push(policy.info());
        }
        true
    }

    /// The bindings from a position on, as many as the turn allows.
    pub(crate) fn binding_infos(&mut self, place: &mut InspectionCursor) -> Vec<BindingInfo> {
        let mut infos = Vec::new();
        for (id, exchange) in self.exchanges.iter_from(place.slot) {
            if place.slot != id.index() {
                *place = InspectionCursor { slot: id.index(), ..InspectionCursor::default() };
            }
            for (number, bound) in exchange.bindings_from(place.binding) {
                if self.budget.is_over() {
                    return infos;
                }
                self.budget.spend(UNITS);
                place.binding = number + 1;
                infos.extend(self.binding_info(&exchange.declared.name, bound));
            }
            *place = InspectionCursor { slot: id.index() + 1, ..InspectionCursor::default() };
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

    /// The states of channels, as many as the turn allows; those are removed from the list.
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
    /// The memory addresses of the bodies of all ready messages, once for each queue that holds a
    /// message.
    pub(crate) fn body_addresses(&self) -> Vec<usize> {
        let queues = self.queue_names.values().filter_map(|id| self.queues.get(*id));
        let parts = queues.flat_map(|queue| queue.ready.iter()).map(|entry| entry.message.parts());
        parts.map(|parts| parts.large.first().map_or(parts.small, |part| part).as_ptr().addr()).collect()
    }
}
