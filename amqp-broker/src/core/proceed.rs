//! Goes on with operations that take more than a turn, for who waits for them and for nobody.

use super::{
    budget::Budget,
    channel::Settled,
    commit::{Commit, Rollback},
    ids::ChannelId,
    kept::Kept,
    publishing::{Prepared, Published, Publishing},
    ready::Ready,
    refusal::Refusal,
    segments::Segments,
    sink::Sink,
    unacked::Outcome,
    vhost::Vhost,
    work::Work,
};

impl Vhost {
    /// Goes on with an operation as far as the turn allows, a step at least; tells whether it is done.
    ///
    /// # Errors
    /// Headers that cannot be read, a delivery that cannot be refused.
    pub(crate) fn proceed(
        &mut self,
        now: u64,
        work: &mut Work,
        sink: &mut impl Sink,
    ) -> Result<bool, Refusal> {
        let is_done = match work {
            Work::Publish(publishing) => self.proceed_publishing(now, publishing, sink)?,
            Work::Prepare(publishing) => self.proceed_routing(publishing)?,
            Work::Settle { channel, up_to, outcome } => {
                self.proceed_settling(now, *channel, *up_to, *outcome, sink)?
            }
            Work::SettleLater { channel, up_to, outcome } => {
                self.proceed_settling_later(*channel, *up_to, *outcome)
            }
            Work::Recover { channel } => {
                self.proceed_settling(now, *channel, u64::MAX, Outcome::Requeued, sink)?
            }
            Work::Purge { serial, ready } => self.proceed_purge(*serial, ready),
            Work::Remove(removal) => self.proceed_removal(now, removal, sink),
            Work::Commit(commit) => self.proceed_commit(now, commit, sink)?,
            Work::Rollback(rollback) => self.proceed_rollback(rollback),
            Work::InOrder(works) => {
                let Some(first) = works.front_mut() else { return Ok(true) };
                // An error is nobody's any more.
                if self.proceed(now, first, sink).unwrap_or(true) {
                    works.pop_front();
                }
                return Ok(works.is_empty());
            }
        };
        if is_done {
            self.dispatch_woken(now, sink);
        }
        Ok(is_done)
    }

    /// Goes on with an operation when its turn comes, whoever began it being gone.
    pub(crate) fn abandon(&mut self, work: Work) {
        self.abandoned.push_back(work);
    }

    /// Does so for nobody that waits for it, the operations in turn.
    pub(super) fn proceed_abandoned(&mut self, now: u64, sink: &mut impl Sink) {
        while let Some(mut work) = self.abandoned.pop_front() {
            // An error is nobody's any more.
            if !self.proceed(now, &mut work, sink).unwrap_or(true) {
                self.abandoned.push_back(work);
            }
            if self.budget.is_over() {
                return;
            }
        }
    }

    fn proceed_purge(&mut self, serial: u64, ready: &mut Ready) -> bool {
        while let Some(entry) = ready.pop() {
            self.budget.spend(1);
            self.dead.left(serial, &entry);
            if self.budget.is_over() {
                return false;
            }
        }
        true
    }

    /// Begins to commit what a channel has published and settled.
    pub(crate) fn commit(&mut self, id: ChannelId, publishes: Segments<Prepared>) -> Commit {
        let channel = self.channels.get_mut(id);
        let settled = channel.map(|channel| std::mem::take(&mut channel.settled)).unwrap_or_default();
        Commit::new(id, publishes, settled)
    }

    fn proceed_commit(
        &mut self,
        now: u64,
        commit: &mut Commit,
        sink: &mut impl Sink,
    ) -> Result<bool, Refusal> {
        if commit.group.is_none() {
            match self.dead.groups().open() {
                // All are taken: until one is done, others have their turn.
                None => return Ok(false),
                group => commit.group = group,
            }
        }
        self.dead.groups().enter(commit.group.unwrap_or_default());
        let result = self.commit_next(now, commit, sink);
        self.dead.groups().enter(Kept::NO);
        if !matches!(result, Ok(false)) {
            // What is written together is told together.
            let records = commit.group.take().map(|group| self.dead.groups().close(group));
            self.journal.record_all(records.unwrap_or_default());
        }
        result
    }

    fn commit_next(&mut self, now: u64, commit: &mut Commit, sink: &mut impl Sink) -> Result<bool, Refusal> {
        loop {
            if self.publish_next(now, commit, sink)? {
                let Some(next) = commit.settled.first_entry() else { return Ok(true) };
                if self.dead.groups().is_of_another(next.get().held.entry.kept) {
                    // What becomes of a message is written with it: not before, and not without the rest of this transaction.
                    // The other one began before this, so nobody waits in a circle.
                    return Ok(false);
                }
                let Settled { held, outcome } = next.remove();
                self.budget.spend(1);
                self.release(commit.channel, held, outcome);
            }
            if self.dead.is_crowded() {
                self.bury(now, sink);
            }
            if self.budget.is_over() || self.dead.is_crowded() {
                return Ok(false);
            }
        }
    }

    /// Goes on with the next publish of a transaction; tells whether there is none.
    fn publish_next(&mut self, now: u64, commit: &mut Commit, sink: &mut impl Sink) -> Result<bool, Refusal> {
        let (mut publishing, mandatory) = match commit.publishing.take() {
            Some(under_way) => under_way,
            None => match commit.publishes.pop_front() {
                None => return Ok(true),
                Some(prepared) => {
                    let mandatory = prepared.mandatory;
                    (Box::new(Publishing::prepared(prepared)), mandatory)
                }
            },
        };
        if !self.proceed_publishing(now, &mut publishing, sink)? {
            commit.publishing = Some((publishing, mandatory));
            return Ok(false);
        }
        commit.is_whole &= publishing.outcome() != Published::Rejected;
        if mandatory
            && publishing.outcome() == Published::Unroutable
            && let Some(channel) = self.channels.get(commit.channel)
        {
            sink.return_unroutable(channel.connection, channel.number, publishing.parts());
        }
        Ok(false)
    }

    fn proceed_rollback(&mut self, rollback: &mut Rollback) -> bool {
        if !forget(&mut rollback.publishes, &mut self.budget) {
            return false;
        }
        let Some(channel) = self.channels.get_mut(rollback.channel) else { return true };
        let merging = rollback.merging.get_or_insert_with(|| {
            let settled = std::mem::take(&mut channel.settled);
            channel
                .unacked
                .begin_merging(settled.into_iter().map(|(tag, settled)| (tag, settled.held)).collect())
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

/// Frees publishes that nobody will commit, as far as the turn allows; tells whether none is left.
pub(super) fn forget(publishes: &mut Segments<Prepared>, budget: &mut Budget) -> bool {
    while publishes.pop_front().is_some() {
        budget.spend(1);
        if budget.is_over() {
            return false;
        }
    }
    true
}
