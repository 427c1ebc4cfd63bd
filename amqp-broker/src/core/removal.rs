//! What is being taken away, step by step. For everybody else it is gone already: it has no name any more, and ids that lead to it
//! lead nowhere.

use std::collections::{BTreeMap, VecDeque, hash_set};

use super::{
    collections::segments::Segments,
    entities::{
        channel::Settled,
        exchange::Exchange,
        ids::{ChannelId, ConnectionId, ConsumerId, ExchangeId, QueueId},
        queue::Queue,
    },
    publishing::Prepared,
};

/// Things to be taken away, and what goes with them.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// Goes last.
    pub(super) connection: Option<ConnectionId>,
    /// Not begun.
    pub(super) channels: VecDeque<ChannelId>,
    pub(super) queues: VecDeque<QueueId>,
    pub(super) exchanges: VecDeque<ExchangeId>,
    /// Publishes of transactions that are not committed.
    pub(super) publishes: Vec<Segments<Prepared>>,
    /// Begun.
    pub(super) channel: Option<EndingChannel>,
    pub(super) queue: Option<Box<RemovedQueue>>,
    pub(super) exchange: Option<Box<RemovedExchange>>,
}

/// A channel that ends.
#[derive(Debug)]
pub(super) struct EndingChannel {
    pub(super) id: ChannelId,
    pub(super) consumers: VecDeque<ConsumerId>,
    /// What was settled in a transaction that is not committed.
    pub(super) settled: BTreeMap<u64, Settled>,
    /// The queues its consumers have left.
    pub(super) left: VecDeque<QueueId>,
}

/// A queue that is gone.
#[derive(Debug)]
pub(super) struct RemovedQueue {
    pub(super) queue: Queue,
    pub(super) sources: hash_set::IntoIter<(ExchangeId, u64)>,
}

/// An exchange that is gone.
#[derive(Debug)]
pub(super) struct RemovedExchange {
    pub(super) id: ExchangeId,
    pub(super) exchange: Exchange,
    pub(super) sources: hash_set::IntoIter<(ExchangeId, u64)>,
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

    pub(super) fn queue(id: QueueId) -> Self {
        Removal { queues: VecDeque::from([id]), ..Removal::default() }
    }

    pub(super) fn exchange(id: ExchangeId) -> Self {
        Removal { exchanges: VecDeque::from([id]), ..Removal::default() }
    }
}
