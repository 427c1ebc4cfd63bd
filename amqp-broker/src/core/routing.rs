//! How far the search for the queues of a message is.

use std::collections::HashSet;

use super::entities::{
    exchange::{Cursor, headers::SortedHeaders},
    ids::{ChannelId, ExchangeId, QueueId},
};

/// How far the search for the queues of a message is.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Its own number, which marks the queues and exchanges it has passed.
    pub(super) number: u64,
    /// The exchanges that are still to be passed.
    pub(super) pending: Vec<ExchangeId>,
    /// The one that is being passed.
    pub(super) current: Option<ExchangeId>,
    pub(super) cursor: Cursor,
    /// Whether the current one has led anywhere.
    pub(super) has_led: bool,
    /// The key that is next at the default exchange.
    pub(super) next_key: usize,
    /// The headers, decoded once if an exchange goes by them.
    pub(super) headers: Option<SortedHeaders>,
    pub(super) found: Found,
    /// The exchanges it has passed.
    pub(super) exchanges: Vec<ExchangeId>,
    /// What has been passed, once marks can no longer be relied on, for others have routed meanwhile.
    pub(super) passed: Option<Passed>,
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
pub(super) struct Passed {
    pub(super) queues: HashSet<QueueId>,
    pub(super) exchanges: HashSet<ExchangeId>,
}

impl Routing {
    /// A search that begins at an exchange; `None` is the default exchange. It puts what it finds into `found`, which is empty.
    pub(super) fn new(number: u64, source: Option<ExchangeId>, found: Found) -> Self {
        Routing { number, pending: source.into_iter().collect(), found, ..Routing::default() }
    }
}
