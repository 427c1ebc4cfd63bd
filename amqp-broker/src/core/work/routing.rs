//! How far the search for the queues of a message is.

use std::collections::HashSet;

use crate::core::entities::{
    exchange::{Cursor, headers::SortedHeaders},
    ids::{ChannelId, ExchangeId, QueueId},
};

/// How far the search for the queues of a message is.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Its own number, which marks the queues and exchanges it has passed.
    pub(crate) number: u64,
    /// The exchanges that are still to be passed.
    pub(crate) pending: Vec<ExchangeId>,
    /// The one that is being passed.
    pub(crate) current: Option<ExchangeId>,
    pub(crate) cursor: Cursor,
    /// Whether the current one has led anywhere.
    pub(crate) has_led: bool,
    /// The key that is next at the default exchange.
    pub(crate) next_key: usize,
    /// The headers, decoded once if an exchange goes by them.
    pub(crate) headers: Option<SortedHeaders>,
    pub(crate) found: Found,
    /// The exchanges it has passed.
    pub(crate) exchanges: Vec<ExchangeId>,
    /// What has been passed, once marks can no longer be relied on, for others have routed
    /// meanwhile.
    pub(crate) passed: Option<Passed>,
}

/// Where a message goes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each once.
    pub(crate) queues: Vec<QueueId>,
    /// Channels that it is a direct reply for.
    pub(crate) replies: Vec<ChannelId>,
}

/// The queues and exchanges that have been passed.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) queues: HashSet<QueueId>,
    pub(crate) exchanges: HashSet<ExchangeId>,
}

impl Routing {
    /// A search that begins at an exchange; `None` is the default exchange. It puts what it finds
    /// into `found`, which is empty.
    pub(crate) fn new(number: u64, source: Option<ExchangeId>, found: Found) -> Self {
        Routing { number, pending: source.into_iter().collect(), found, ..Routing::default() }
    }
}
