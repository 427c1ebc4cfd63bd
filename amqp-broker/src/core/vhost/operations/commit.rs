//! Transactions that are committed or rolled back.

use super::publish::Publisher;
use crate::core::{
    budget::Budget,
    collections::segments::Segments,
    effects::sink::Sink,
    entities::channel::Settled,
    journal::kept::Kept,
    vhost::Vhost,
    work::{
        commit::{Commit, Rollback, Stage},
        publishing::{Prepared, Published, Publishing},
        ticket::Ticket,
    },
};

impl Vhost {
    /// Begins to commit what a channel has published and settled.
    pub(crate) fn commit(&mut self, by: Publisher, publishes: Segments<Prepared>, weight: u64) -> Commit {
        self.committing += weight;
        let channel = self.channels.get_mut(by.channel);
        let settled = channel.map(|channel| std::mem::take(&mut channel.settled)).unwrap_or_default();
        Commit::new(by.connection, by.channel, (publishes, weight), settled)
    }

    pub(super) fn proceed_commit(&mut self, now: u64, commit: &mut Commit, sink: &mut impl Sink) -> bool {
        if self.background.waiting.has(commit.ticket) {
            return false;
        }
        let group = match commit.stage {
            Stage::New => match self.begin_commit(commit) {
                Some(group) => group,
                None => return false,
            },
            Stage::UnderWay(group) => group,
            Stage::Done => {
                self.messages.journal.follow();
                return true;
            }
        };
        self.messages.journal.groups.enter(group);
        let is_done = self.commit_next(now, commit, sink);
        self.messages.journal.groups.enter(Kept::NO);
        if is_done {
            self.let_go_of_commit(commit, u64::MAX);
        }
        is_done && self.end_commit(commit, group, sink)
    }

    /// Begins a transaction, unless it must wait for others; returns the group of its changes.
    fn begin_commit(&mut self, commit: &mut Commit) -> Option<Kept> {
        // Without a store nothing is written.
        let group = match self.messages.journal.is_kept() {
            false => Some(Kept::NO),
            true if commit.ticket == Ticket::NONE && self.background.waiting.is_anybody_to_begin() => None,
            true => self.messages.journal.groups.open(),
        };
        match group {
            Some(group) => commit.stage = Stage::UnderWay(group),
            None => commit.ticket = self.background.waiting.begin(commit.ticket, commit.connection),
        }
        group
    }

    /// Ends a transaction: it is written, or waits for those it is written with. Returns whether it
    /// is written.
    fn end_commit(&mut self, commit: &mut Commit, group: Kept, sink: &mut impl Sink) -> bool {
        if group == Kept::NO {
            return true;
        }
        match self.messages.journal.groups.end(group) {
            // Changes that are written together are passed on together.
            Some(changes) => self.messages.journal.record_all(changes),
            None => {
                commit.stage = Stage::Done;
                commit.ticket = self.background.waiting.be_written(group, commit.connection);
                return false;
            }
        }
        self.background.wake(&self.messages.journal.groups, sink);
        true
    }

    /// Continues a transaction as far as the turn allows; returns whether all of it is done.
    fn commit_next(&mut self, now: u64, commit: &mut Commit, sink: &mut impl Sink) -> bool {
        loop {
            if self.publish_next(now, commit, sink) {
                let Some((_, Settled { delivery, outcome })) = commit.settled.pop_first() else {
                    return true;
                };
                self.budget.spend(1);
                self.release(now, commit.channel, delivery, outcome);
            }
            if self.dead_letters.is_crowded() {
                self.publish_dead_letters(now, sink);
            }
            if self.budget.is_over() || self.dead_letters.is_crowded() {
                return false;
            }
        }
    }

    /// Releases the memory of a part of a transaction, which is in queues now, or dropped.
    fn let_go_of_commit(&mut self, commit: &mut Commit, weight: u64) {
        let weight = weight.min(commit.weight);
        commit.weight -= weight;
        self.committing -= weight;
    }

    /// Continues with the next publish of a transaction; returns whether there is none.
    fn publish_next(&mut self, now: u64, commit: &mut Commit, sink: &mut impl Sink) -> bool {
        let (mut publishing, mandatory) = match commit.publishing.take() {
            Some(under_way) => under_way,
            None => match commit.publishes.pop_front() {
                None => return true,
                Some(prepared) => {
                    self.let_go_of_commit(commit, prepared.weight());
                    let mandatory = prepared.mandatory;
                    (Box::new(Publishing::prepared(prepared)), mandatory)
                }
            },
        };
        // The queues were found before, so nothing can be refused any more.
        if !self.proceed_publishing(now, &mut publishing, sink).unwrap_or(true) {
            commit.publishing = Some((publishing, mandatory));
            return false;
        }
        commit.is_whole &= publishing.outcome() != Published::Rejected;
        if mandatory
            && publishing.outcome() == Published::Unroutable
            && let Some(channel) = self.channels.get(commit.channel)
        {
            sink.return_unroutable(channel.connection, channel.number, publishing.parts());
        }
        false
    }

    pub(super) fn proceed_rollback(&mut self, rollback: &mut Rollback) -> bool {
        if !forget(&mut rollback.publishes, &mut self.budget) {
            return false;
        }
        let Some(channel) = self.channels.get_mut(rollback.channel) else { return true };
        let merging = rollback.merging.get_or_insert_with(|| {
            let settled = std::mem::take(&mut channel.settled);
            channel
                .unacked
                .begin_merging(settled.into_iter().map(|(tag, settled)| (tag, settled.delivery)).collect())
        });
        while merging.step() {
            self.budget.spend(1);
            if self.budget.is_over() {
                return false;
            }
        }
        if let Some(merging) = rollback.merging.take() {
            channel.unacked.end_merging(merging);
        }
        true
    }
}

/// Drops publishes that will not be committed, as far as the turn allows; returns whether none is
/// left.
pub(super) fn forget(publishes: &mut Segments<Prepared>, budget: &mut Budget) -> bool {
    while publishes.pop_front().is_some() {
        budget.spend(1);
        if budget.is_over() {
            return false;
        }
    }
    true
}
