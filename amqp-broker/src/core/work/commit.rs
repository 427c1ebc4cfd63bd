//! A transaction that is being committed or rolled back.

use std::collections::BTreeMap;

use super::{
    publishing::{Prepared, Publishing},
    ticket::Ticket,
};
use crate::core::{
    collections::segments::Segments,
    entities::{
        channel::Settled,
        ids::{ChannelId, ConnectionId},
        unacked::Merging,
    },
    journal::kept::Kept,
};

/// A transaction that is being committed. Once begun it is completed, whatever happens to the
/// client.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) connection: ConnectionId,
    pub(crate) channel: ChannelId,
    pub(crate) publishes: Segments<Prepared>,
    /// The bytes of the publishes.
    pub(crate) weight: u64,
    /// The current publish, and whether it is returned when no queue takes it.
    pub(crate) publishing: Option<(Box<Publishing>, bool)>,
    pub(crate) settled: BTreeMap<u64, Settled>,
    pub(crate) stage: Stage,
    /// Its ticket while it waits for other transactions.
    pub(crate) ticket: Ticket,
    /// Whether no queue has refused a message.
    pub(crate) is_whole: bool,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not begun.
    New,
    /// It is partly done. Its persistent changes belong to this group.
    UnderWay(Kept),
    /// It is done, and waits for those that it is written with.
    Done,
}

impl Commit {
    /// Prepares a commit that needs nothing more of its channel, which may end before it.
    pub(crate) fn new(
        connection: ConnectionId,
        channel: ChannelId,
        (publishes, weight): (Segments<Prepared>, u64),
        settled: BTreeMap<u64, Settled>,
    ) -> Self {
        let (publishing, stage, ticket) = (None, Stage::New, Ticket::NONE);
        Commit { connection, channel, publishes, weight, publishing, settled, stage, ticket, is_whole: true }
    }
}

/// A transaction that is being rolled back: its publishes are dropped, and its settlements are
/// undone.
#[derive(Debug)]
pub(crate) struct Rollback {
    pub(crate) channel: ChannelId,
    pub(crate) publishes: Segments<Prepared>,
    pub(crate) merging: Option<Merging>,
}

impl Rollback {
    pub(crate) fn new(channel: ChannelId, publishes: Segments<Prepared>) -> Self {
        Rollback { channel, publishes, merging: None }
    }
}
