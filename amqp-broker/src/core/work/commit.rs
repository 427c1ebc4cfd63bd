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

/// A transaction that is being committed: once begun, it comes to its end whatever becomes of the
/// client.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) connection: ConnectionId,
    pub(crate) channel: ChannelId,
    pub(crate) publishes: Segments<Prepared>,
    /// Bytes those take.
    pub(crate) held: u64,
    /// The publish that is under way, and whether it is to be returned where nobody wants it.
    pub(crate) publishing: Option<(Box<Publishing>, bool)>,
    pub(crate) settled: BTreeMap<u64, Settled>,
    pub(crate) stage: Stage,
    /// Where it waits for others, if it does.
    pub(crate) ticket: Ticket,
    /// Whether no queue refused a message.
    pub(crate) is_whole: bool,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing of it is done.
    New,
    /// Some of it is done. What of it survives the process is written together.
    UnderWay(Kept),
    /// All of it is done, and those are not that it is written with.
    Done,
}

impl Commit {
    /// Of a channel that may end before it is done: it needs nothing more of it.
    pub(crate) fn new(
        connection: ConnectionId,
        channel: ChannelId,
        (publishes, held): (Segments<Prepared>, u64),
        settled: BTreeMap<u64, Settled>,
    ) -> Self {
        let (publishing, stage, ticket) = (None, Stage::New, Ticket::NONE);
        Commit { connection, channel, publishes, held, publishing, settled, stage, ticket, is_whole: true }
    }
}

/// A transaction that is being rolled back: its publishes are forgotten, and what was settled is
/// unacknowledged again.
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
