//! The progress of the search for a message's queues.

use std::collections::HashSet;

use crate::core::entities::{
    exchange::{Cursor, headers::SortedHeaders},
    ids::{ChannelId, ExchangeId, QueueId},
};

/// The progress of the search for a message's queues.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// The number of the search, which marks the queues and exchanges it has passed.
    pub(crate) number: u64,
    /// The exchanges that are still to be searched.
    pub(crate) pending: Vec<ExchangeId>,
    /// The exchange that is being searched.
    pub(crate) current: Option<ExchangeId>,
    pub(crate) cursor: Cursor,
    /// Whether a binding of the current exchange has matched.
    pub(crate) has_led: bool,
    /// The next key at the default exchange.
    pub(crate) next_key: usize,
    /// The headers, decoded once if an exchange needs them.
    pub(crate) headers: Option<SortedHeaders>,
    pub(crate) found: Found,
    /// The exchanges it has passed.
    pub(crate) exchanges: Vec<ExchangeId>,
    /// The queues and exchanges that it has passed, once the marks are unreliable because other
    /// searches have overwritten them.
    pub(crate) passed: Option<Passed>,
}

/// The destinations of a message.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The queues, each once.
    pub(crate) queues: Vec<QueueId>,
    /// The channels that get it as a direct reply.
    pub(crate) replies: Vec<ChannelId>,
}

/// The queues and exchanges that have been passed.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) queues: HashSet<QueueId>,
    pub(crate) exchanges: HashSet<ExchangeId>,
}

impl Routing {
    /// Begins a search at an exchange; `None` is the default exchange. What it finds is put into
    /// `found`, which is empty.
    pub(crate) fn new(number: u64, source: Option<ExchangeId>, found: Found) -> Self {
        Routing { number, pending: source.into_iter().collect(), found, ..Routing::default() }
    }
}
