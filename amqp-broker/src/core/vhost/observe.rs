//! Observation of a virtual host for metrics and management: all of a kind in turns, with what is
//! counted of each.

use amqp_codec::{ShortString, Table};

use super::{
    Vhost,
    inspect::{ExchangeInfo, InspectionCursor, exchange_info},
};
use crate::core::{
    counters::{ExchangeCounters, MessageCounters},
    entities::{
        channel::{Channel, ChannelMode},
        ids::{ChannelId, ConnectionId, QueueId},
    },
    rabbitmq::{arguments::QueueType, policies::policy::Policy},
};

/// The work of observing one entity, more than it is, so that a turn is short: nobody who publishes
/// should notice that metrics are read.
const UNITS: u64 = 16;

/// A queue as it is observed. What is text in it is shared with the queue.
#[derive(Clone, Debug)]
pub(crate) struct QueueState {
    pub(crate) name: ShortString,
    pub(crate) kind: QueueType,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) arguments: Table,
    pub(crate) ready: usize,
    pub(crate) unacked: usize,
    /// The bytes of the bodies of either.
    pub(crate) ready_bytes: u64,
    pub(crate) unacked_bytes: u64,
    pub(crate) consumers: usize,
    /// Set when one of its consumers waits for messages.
    pub(crate) has_able_consumer: bool,
    pub(crate) counters: MessageCounters,
    pub(crate) policy: Option<String>,
    pub(crate) operator_policy: Option<String>,
    /// The definitions of both, if there are any.
    pub(crate) definitions: [Option<Table>; 2],
    /// The tags of the consumer with exclusive access, and of the single active one.
    pub(crate) exclusive_consumer: Option<ShortString>,
    pub(crate) active_consumer: Option<ShortString>,
}

/// An exchange as it is observed.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeState {
    pub(crate) info: ExchangeInfo,
    pub(crate) counters: ExchangeCounters,
}

/// A channel as it is observed.
#[derive(Clone, Debug)]
pub(crate) struct ChannelState {
    pub(crate) id: ChannelId,
    pub(crate) connection: ConnectionId,
    pub(crate) number: u16,
    pub(crate) mode: ChannelMode,
    pub(crate) consumers: usize,
    pub(crate) unacked: usize,
    /// Settlements in a transaction.
    pub(crate) uncommitted_acks: usize,
    pub(crate) prefetch: u32,
    pub(crate) shared_prefetch: u32,
    pub(crate) counters: MessageCounters,
}

/// A consumer as it is observed.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerState {
    pub(crate) tag: ShortString,
    pub(crate) queue: ShortString,
    pub(crate) connection: ConnectionId,
    pub(crate) channel: u16,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) is_active: bool,
    pub(crate) prefetch: u32,
    pub(crate) priority: i32,
}

impl Vhost {
    /// The queues from a position on, as many as the turn allows.
    pub(crate) fn queue_states(&mut self, now: u64, place: &mut InspectionCursor) -> Vec<QueueState> {
        let mut states = Vec::new();
        while !self.budget.is_over() {
            let Some((id, _)) = self.queues.iter_from(place.slot()).next() else {
                place.is_end = true;
                break;
            };
            place.pass(id.index());
            self.budget.spend(UNITS);
            states.extend(self.queue_state_of(id, now));
        }
        states
    }

    /// The queue of this name, if there is one.
    pub(crate) fn queue_state(&mut self, now: u64, name: &[u8]) -> Option<QueueState> {
        let id = *self.queue_names.get(name)?;
        self.queue_state_of(id, now)
    }

    fn queue_state_of(&mut self, id: QueueId, now: u64) -> Option<QueueState> {
        self.budget.spend(self.policy_units());
        let applied = self.policies_of(id)?;
        let named = |policy: Option<&Policy>| policy.map(|policy| policy.name.to_string());
        let defined = |policy: Option<&Policy>| policy.map(|policy| policy.definition.clone());
        let definitions = [defined(applied.policy), defined(applied.operator_policy)];
        let (policy, operator_policy) = (named(applied.policy), named(applied.operator_policy));
        let queue = self.queues.get_mut(id)?;
        queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
        let tag = |id| self.consumers.get(id).map(|consumer| consumer.tag.clone());
        let first = queue.consumers.values().next().copied();
        let active = first.filter(|_| queue.arguments.single_active_consumer);
        Some(QueueState {
            name: queue.name.clone(),
            kind: queue.arguments.kind,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            owner: queue.owner,
            arguments: queue.table.clone(),
            ready: queue.len(),
            unacked: queue.unacked,
            ready_bytes: queue.ready.body_bytes()
                + queue.stream.as_ref().map_or(0, |stream| stream.body_bytes()),
            unacked_bytes: queue.unacked_bytes,
            consumers: queue.consumers.len(),
            has_able_consumer: queue.next_in_line().is_some(),
            counters: queue.counters,
            policy,
            operator_policy,
            definitions,
            exclusive_consumer: queue.exclusive_consumer.and_then(tag),
            active_consumer: active.and_then(tag),
        })
    }

    /// Tells whether there is an exchange of this name; the empty one is the default exchange's.
    pub(crate) fn has_exchange(&self, name: &[u8]) -> bool {
        name.is_empty() || self.exchange_names.contains_key(name)
    }

    pub(crate) fn has_queue(&self, name: &[u8]) -> bool {
        self.queue_names.contains_key(name)
    }

    /// The exchanges from a position on, as many as the turn allows.
    pub(crate) fn exchange_states(&mut self, place: &mut InspectionCursor) -> Vec<ExchangeState> {
        let mut states = Vec::new();
        for (id, exchange) in self.exchanges.iter_from(place.slot()) {
            if self.budget.is_over() {
                return states;
            }
            self.budget.spend(UNITS + 1 + self.policies.len() as u64);
            place.pass(id.index());
            let info = exchange_info(exchange, &self.policies);
            states.push(ExchangeState { info, counters: exchange.counters });
        }
        place.is_end = true;
        states
    }

    /// The channels from a position on, as many as the turn allows.
    pub(crate) fn channel_states(&mut self, place: &mut InspectionCursor) -> Vec<ChannelState> {
        let mut states = Vec::new();
        for (id, channel) in self.channels.iter_from(place.slot()) {
            if self.budget.is_over() {
                return states;
            }
            self.budget.spend(UNITS);
            place.pass(id.index());
            if !channel.is_ending {
                states.push(channel_state(id, channel));
            }
        }
        place.is_end = true;
        states
    }

    /// The consumers from a position on, as many as the turn allows.
    pub(crate) fn consumer_states(&mut self, place: &mut InspectionCursor) -> Vec<ConsumerState> {
        let mut states = Vec::new();
        for (id, consumer) in self.consumers.iter_from(place.slot()) {
            if self.budget.is_over() {
                return states;
            }
            self.budget.spend(UNITS);
            place.pass(id.index());
            let (Some(channel), Some(queue)) =
                (self.channels.get(consumer.channel), self.queues.get(consumer.queue))
            else {
                continue;
            };
            states.push(ConsumerState {
                tag: consumer.tag.clone(),
                queue: queue.name.clone(),
                connection: channel.connection,
                channel: channel.number,
                no_ack: consumer.no_ack,
                exclusive: queue.exclusive_consumer == Some(id),
                is_active: queue.is_active(id),
                prefetch: consumer.prefetch,
                priority: consumer.priority,
            });
        }
        place.is_end = true;
        states
    }

    /// Returns the number of exchanges, the default exchange included.
    pub(crate) fn exchange_count(&self) -> usize {
        self.exchange_names.len() + 1
    }

    /// Returns the numbers of connections, channels, consumers and queues.
    pub(crate) fn entity_counts(&self) -> [usize; 4] {
        [self.connections.len(), self.channels.len(), self.consumers.len(), self.queue_names.len()]
    }
}

fn channel_state(id: ChannelId, channel: &Channel) -> ChannelState {
    ChannelState {
        id,
        connection: channel.connection,
        number: channel.number,
        mode: channel.mode,
        consumers: channel.consumers.len(),
        unacked: channel.unacked.len(),
        uncommitted_acks: channel.settled.len(),
        prefetch: channel.prefetch,
        shared_prefetch: channel.shared_prefetch,
        counters: channel.counters,
    }
}
