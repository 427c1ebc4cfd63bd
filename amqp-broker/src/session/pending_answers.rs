//! Answers that wait until the change that they promise is on disk.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::core::entities::ids::{ChannelId, ConnectionId};

/// A waiting answer.
#[derive(Debug)]
pub(crate) struct PendingAnswer {
    /// The change that must be on disk first.
    pub(crate) change: u64,
    pub(crate) to: ConnectionId,
    /// The channel of the answer, which is not sent if the channel has ended.
    pub(crate) channel: ChannelId,
    pub(crate) frame: Bytes,
    /// The frame that is sent instead when the disk fails.
    pub(crate) failure: Option<Bytes>,
}

/// The waiting answers, and the progress of the disk.
#[derive(Debug, Default)]
pub(crate) struct PendingAnswers {
    answers: VecDeque<PendingAnswer>,
    /// The number of the last change that was made, and of the last that is on disk.
    made: u64,
    on_disk: u64,
}

impl PendingAnswers {
    /// The number that the current operation's change gets, if it makes one.
    pub(crate) fn next_change(&self) -> u64 {
        self.made + 1
    }

    /// Notes that the operation has made a change; returns its number.
    pub(crate) fn changed(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Tells whether a change is on disk.
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

    /// The next answer that may be sent, because all changes up to this one are on disk. Answers
    /// without a change keep their place among the others.
    pub(crate) fn next_on_disk(&mut self, change: u64) -> Option<PendingAnswer> {
        let may_go = self.answers.front().is_some_and(|answer| answer.change <= change);
        let next = if may_go { self.answers.pop_front() } else { None };
        let waits_for = self.answers.front().map_or(u64::MAX, |answer| answer.change);
        self.on_disk = self.on_disk.max(change.min(waits_for - 1));
        next
    }
}

impl PendingAnswers {
    /// Takes all answers when the disk has failed; none of them may be sent.
    pub(crate) fn fail(&mut self) -> VecDeque<PendingAnswer> {
        std::mem::take(&mut self.answers)
    }
}
