//! What is being taken away, step by step. For everybody else it is gone already: it has no name
//! any more, and ids that lead to it lead nowhere.

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

/// Things to be taken away, and what goes with them.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// Goes last.
    pub(crate) connection: Option<ConnectionId>,
    /// Not begun.
    pub(crate) channels: VecDeque<ChannelId>,
    pub(crate) queues: VecDeque<QueueId>,
    pub(crate) exchanges: VecDeque<ExchangeId>,
    /// Publishes of transactions that are not committed.
    pub(crate) publishes: Vec<Segments<Prepared>>,
    /// Begun.
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
    /// The queues its consumers have left.
    pub(crate) left: VecDeque<QueueId>,
}

/// A queue that is gone.
#[derive(Debug)]
pub(crate) struct RemovedQueue {
    pub(crate) queue: Queue,
    pub(crate) sources: hash_set::IntoIter<(ExchangeId, u64)>,
}

/// An exchange that is gone.
#[derive(Debug)]
pub(crate) struct RemovedExchange {
    pub(crate) id: ExchangeId,
    pub(crate) exchange: Exchange,
    pub(crate) sources: hash_set::IntoIter<(ExchangeId, u64)>,
}

impl Removal {
    /// A channel ends.
    pub(crate) fn channel(id: ChannelId) -> Self {
        Removal { channels: VecDeque::from([id]), ..Removal::default() }
    }

    /// With publishes of transactions that are not committed.
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
