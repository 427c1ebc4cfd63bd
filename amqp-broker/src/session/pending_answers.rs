//! Answers that wait until what they promise is on disk.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::core::entities::ids::{ChannelId, ConnectionId};

/// An answer that waits.
#[derive(Debug)]
pub(crate) struct PendingAnswer {
    /// The change that has to be on disk before.
    pub(crate) change: u64,
    pub(crate) to: ConnectionId,
    /// With it the answer goes unsaid.
    pub(crate) channel: ChannelId,
    pub(crate) frame: Bytes,
    /// The frame that is said instead when the disk fails.
    pub(crate) failure: Option<Bytes>,
}

/// The answers that wait, and how far the disk is.
#[derive(Debug, Default)]
pub(crate) struct PendingAnswers {
    answers: VecDeque<PendingAnswer>,
    /// The number of the last change that is being made, and of the last that is on disk.
    made: u64,
    on_disk: u64,
}

impl PendingAnswers {
    /// The number of the change that the operation under way makes, if it makes one.
    pub(crate) fn next_change(&self) -> u64 {
        self.made + 1
    }

    /// The operation has made a change.
    pub(crate) fn changed(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Tells whether what a change made is on disk.
    #[inline]
    pub(crate) fn is_on_disk(&self, change: u64) -> bool {
        change <= self.on_disk
    }

    /// Tells whether no answer waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    pub(crate) fn hold(&mut self, answer: PendingAnswer) {
        self.answers.push_back(answer);
    }

    /// All changes up to this one are on disk: the next answer that may go. What waits for no
    /// change is overtaken by none of them.
    pub(crate) fn next_on_disk(&mut self, change: u64) -> Option<PendingAnswer> {
        let may_go = self.answers.front().is_some_and(|answer| answer.change <= change);
        let next = if may_go { self.answers.pop_front() } else { None };
        let waits_for = self.answers.front().map_or(u64::MAX, |answer| answer.change);
        self.on_disk = self.on_disk.max(change.min(waits_for - 1));
        next
    }
}

impl PendingAnswers {
    /// Nothing gets to the disk any more: all answers, which will not go.
    pub(crate) fn fail(&mut self) -> VecDeque<PendingAnswer> {
        std::mem::take(&mut self.answers)
    }
}
