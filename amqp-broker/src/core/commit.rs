//! A transaction that is being committed or rolled back.

use std::collections::BTreeMap;

use super::{
    channel::Settled,
    ids::ChannelId,
    kept::Kept,
    publishing::{Prepared, Publishing},
    segments::Segments,
    unacked::Merging,
};

/// A transaction that is being committed: once begun, it comes to its end whatever becomes of the client.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(super) channel: ChannelId,
    pub(super) publishes: Segments<Prepared>,
    /// The publish that is under way, and whether it is to be returned where nobody wants it.
    pub(super) publishing: Option<(Box<Publishing>, bool)>,
    pub(super) settled: BTreeMap<u64, Settled>,
    /// What of it survives the process, which is written together.
    pub(super) group: Option<Kept>,
    /// Whether no queue refused a message.
    pub(crate) is_whole: bool,
}

impl Commit {
    /// Of a channel that may end before it is done: it needs nothing more of it.
    pub(super) fn new(
        channel: ChannelId,
        publishes: Segments<Prepared>,
        settled: BTreeMap<u64, Settled>,
    ) -> Self {
        Commit { channel, publishes, publishing: None, settled, group: None, is_whole: true }
    }
}

/// A transaction that is being rolled back: its publishes are forgotten, and what was settled is unacknowledged again.
#[derive(Debug)]
pub(crate) struct Rollback {
    pub(super) channel: ChannelId,
    pub(super) publishes: Segments<Prepared>,
    pub(super) merging: Option<Merging>,
}

impl Rollback {
    pub(crate) fn new(channel: ChannelId, publishes: Segments<Prepared>) -> Self {
        Rollback { channel, publishes, merging: None }
    }
}
