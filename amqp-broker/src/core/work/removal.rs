//! Entities that are being removed step by step. For everybody else they are gone already: they
//! have no name any more, and their ids are invalid.

use std::collections::{BTreeMap, VecDeque, hash_set};

use super::publishing::Prepared;
use crate::core::{
    collections::segments::Segments,
    entities::{
        channel::Settled,
        exchange::Exchange,
        ids::{ChannelId, ConnectionId, ConsumerId, ExchangeId, QueueId},
        queue::Queue,
    },
};

/// Entities to be removed, and all that belongs to them.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// The connection, which is removed last.
    pub(crate) connection: Option<ConnectionId>,
    /// The channels whose removal has not begun.
    pub(crate) channels: VecDeque<ChannelId>,
    pub(crate) queues: VecDeque<QueueId>,
    pub(crate) exchanges: VecDeque<ExchangeId>,
    /// Publishes of transactions that are not committed.
    pub(crate) publishes: Vec<Segments<Prepared>>,
    /// The channel that is being removed.
    pub(crate) channel: Option<EndingChannel>,
    pub(crate) queue: Option<Box<RemovedQueue>>,
    pub(crate) exchange: Option<Box<RemovedExchange>>,
}

/// A channel that ends.
#[derive(Debug)]
pub(crate) struct EndingChannel {
    pub(crate) id: ChannelId,
    pub(crate) consumers: VecDeque<ConsumerId>,
    /// What was settled in a transaction that is not committed.
    pub(crate) settled: BTreeMap<u64, Settled>,
    /// The queues that its consumers have left.
    pub(crate) left: VecDeque<QueueId>,
}

/// A deleted queue.
#[derive(Debug)]
pub(crate) struct RemovedQueue {
    pub(crate) queue: Queue,
    pub(crate) sources: hash_set::IntoIter<(ExchangeId, u64)>,
}

/// A deleted exchange.
#[derive(Debug)]
pub(crate) struct RemovedExchange {
    pub(crate) id: ExchangeId,
    pub(crate) exchange: Exchange,
    pub(crate) sources: hash_set::IntoIter<(ExchangeId, u64)>,
}

impl Removal {
    /// The removal of a channel.
    pub(crate) fn channel(id: ChannelId) -> Self {
        Removal { channels: VecDeque::from([id]), ..Removal::default() }
    }

    /// Adds publishes of transactions that are not committed.
    pub(crate) fn with_publishes(self, publishes: Vec<Segments<Prepared>>) -> Self {
        Removal { publishes, ..self }
    }

    pub(crate) fn queue(id: QueueId) -> Self {
        Removal { queues: VecDeque::from([id]), ..Removal::default() }
    }

    pub(crate) fn exchange(id: ExchangeId) -> Self {
        Removal { exchanges: VecDeque::from([id]), ..Removal::default() }
    }
}
