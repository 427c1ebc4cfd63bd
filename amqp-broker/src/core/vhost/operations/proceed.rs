//! Continues operations that take more than a turn, those that a client waits for and those that
//! nobody waits for.

use crate::core::{
    effects::sink::Sink,
    entities::{ready::Ready, unacked::Outcome},
    rabbitmq::refusal::Refusal,
    vhost::Vhost,
    work::Work,
};

impl Vhost {
    /// Continues an operation as far as the turn allows, by at least one step; returns whether it
    /// is done.
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
            Work::Prepare(publishing) => self.proceed_preparing(publishing)?,
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
            Work::ApplyPolicies(cursor) => self.proceed_policies(now, cursor),
            Work::Commit(commit) => self.proceed_commit(now, commit, sink),
            Work::Rollback(rollback) => self.proceed_rollback(rollback),
            Work::InOrder(works) => {
                let Some(first) = works.front_mut() else { return Ok(true) };
                // Nobody is left whom an error could be told.
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

    fn proceed_purge(&mut self, serial: u64, ready: &mut Ready) -> bool {
        while let Some(entry) = ready.pop_any() {
            self.budget.spend(1);
            self.messages.left(serial, &entry);
            if self.budget.is_over() {
                return false;
            }
        }
        true
    }
}
