//! The work of a virtual host as time passes: what is due, and what was left over.

use std::cmp::Reverse;

use crate::core::{
    effects::sink::Sink,
    entities::ready::NEVER,
    vhost::Vhost,
    work::{Work, removal::Removal},
};

impl Vhost {
    /// Tells whether work is left over for the next turn.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        !self.woken.is_empty()
            || !self.relieved.is_empty()
            || !self.lining_up.is_empty()
            || self.has_letters()
            || !self.background.is_empty()
            || self.acks_checked.is_some()
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub(crate) fn next_deadline(&self) -> u64 {
        if self.has_backlog() {
            return 0;
        }
        let lost = if self.has_lost() { self.lost_due() } else { NEVER };
        self.timers.peek().map_or(NEVER, |Reverse((deadline, _))| *deadline).min(self.acks_due).min(lost)
    }

    /// Does what is due and what was left over, as far as the turn allows: it expires messages and
    /// unused queues, closes channels that do not acknowledge, handles the consequences, and
    /// continues the operations of clients that are gone. If one of these takes the whole turn, the
    /// next turn begins with the one after it.
    pub(crate) fn advance(&mut self, now: u64, sink: &mut impl Sink) {
        for act in self.first..self.first + 3 {
            match act % 3 {
                0 => self.proceed_abandoned(now, sink),
                1 => self.let_expire(now, sink),
                _ => self.dispatch_woken(now, sink),
            }
            if self.budget.is_over() {
                self.first = (act + 1) % 3;
                return;
            }
        }
        self.first = 0;
        self.dispatch_woken(now, sink);
        if self.has_lost() {
            self.tell_lost(now);
        }
    }

    fn let_expire(&mut self, now: u64, sink: &mut impl Sink) {
        if self.acks_due <= now {
            match self.profile.timeouts_end_consumers {
                true => self.check_consumers(now, sink),
                false => self.check_acks(now, sink),
            }
        }
        while !self.budget.is_over()
            && !self.dead_letters.is_crowded()
            && let Some(&Reverse((deadline, id))) = self.timers.peek()
            && deadline <= now
        {
            self.timers.pop();
            self.budget.spend(1);
            let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.timer == deadline) else {
                continue;
            };
            queue.timer = NEVER;
            let mut is_released = false;
            while !self.budget.is_over() && queue.ready.release_due(now) {
                self.budget.spend(1);
                is_released = true;
            }
            let is_pruned = queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
            if is_pruned && queue.unused_until() <= now {
                self.background.abandon(Work::Remove(Box::new(Removal::queue(id))));
            } else {
                self.arm(id);
            }
            if is_released {
                self.wake(id);
            }
            if !self.dead_letters.is_empty() {
                self.publish_dead_letters(now, sink);
            }
        }
    }

    /// Continues the operations that nobody waits for, in turn.
    fn proceed_abandoned(&mut self, now: u64, sink: &mut impl Sink) {
        while let Some(mut work) = self.background.next() {
            // Nobody is left whom an error could be told.
            if !self.proceed(now, &mut work, sink).unwrap_or(true) {
                self.background.abandon(work);
            }
            if self.budget.is_over() {
                return;
            }
        }
    }
}
