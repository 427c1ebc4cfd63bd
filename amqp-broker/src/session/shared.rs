//! What is under a virtual host's one lock, and what an operation under it is given.

use std::sync::Arc;

use amqp_codec::{ShortString, method::connection};

use crate::core::{ids::ConnectionId, refusal::Refusal, vhost::Vhost, work::Work};

use super::{
    alarm::Alarm,
    disturbance::Disturbance,
    held::HeldAnswers,
    outbox::{Outboxes, OwnCancelsLater},
    paused::{Paused, Then},
};

/// A virtual host and what waits to be written to its connections.
pub(crate) struct Shared {
    pub(crate) vhost: Vhost,
    pub(crate) outboxes: Outboxes,
    pub(crate) alarm: Alarm,
    pub(crate) disturbance: Arc<Disturbance>,
    /// Answers that wait for the disk.
    pub(crate) held: HeldAnswers,
    /// Bytes that all of it may take.
    limit: u64,
    /// Bytes of bodies under way, and of publishes that wait for a commit.
    unpublished: u64,
}

impl Shared {
    /// A virtual host whose messages may take so much memory, in bytes, before publishers are held back.
    pub(crate) fn new(vhost: Vhost, disturbance: Arc<Disturbance>, memory: u64) -> Self {
        Shared {
            vhost,
            outboxes: Outboxes::default(),
            alarm: Alarm::default(),
            disturbance,
            held: HeldAnswers::default(),
            limit: memory,
            unpublished: 0,
        }
    }

    /// Holds publishers back for this reason, or lets them go on.
    pub(crate) fn block(&mut self, reason: Option<ShortString>) {
        let released = self.alarm.want(reason);
        self.release(released);
    }

    /// Lets those go on who were held back.
    fn release(&mut self, held: Vec<(ConnectionId, bool)>) {
        for (id, told) in held {
            if told {
                self.outboxes.send(id, 0, &connection::Unblocked {});
            } else {
                self.outboxes.of(id);
            }
        }
    }

    /// All changes up to this one are on disk, and whether it can follow. Tells whether all answers are said that waited for it.
    pub(crate) fn on_disk(&mut self, change: u64, has_room: bool) -> bool {
        while let Some(held) = self.held.next_on_disk(change) {
            self.vhost.budget.spend(1);
            // Who reads nothing until this is on disk goes on, even if nobody wants the answer any more.
            if let Some(outbox) = self.outboxes.of(held.to)
                && self.vhost.has_channel(held.channel)
            {
                outbox.frame(&held.frame);
            }
            if self.vhost.budget.is_over() {
                return false;
            }
        }
        self.disk_follows(has_room);
        true
    }

    /// Whether the disk can follow.
    pub(crate) fn disk_follows(&mut self, has_room: bool) {
        let released = self.alarm.behind(!has_room);
        self.release(released);
    }

    /// Whether there is little room on the disk.
    #[cfg(feature = "durable")]
    pub(crate) fn low_on_disk(&mut self, is_low: bool) {
        let released = self.alarm.low_on_disk(is_low);
        self.release(released);
    }

    /// Nothing gets to the disk any more.
    pub(crate) fn disk_failed(&mut self) {
        for held in self.held.fail() {
            if self.vhost.has_channel(held.channel)
                && let (Some(failure), Some(outbox)) = (held.failure, self.outboxes.of(held.to))
            {
                outbox.frame(&failure);
            }
        }
    }

    /// Does what is left of an operation that nobody waits for.
    pub(crate) fn leave_behind(&mut self, now: u64, mut work: Work) {
        // An error is nobody's any more.
        if !self.vhost.proceed(now, &mut work, &mut self.outboxes).unwrap_or(true) {
            self.vhost.abandon(work);
        }
    }

    /// Does what has fallen due, before somebody does something else. While there is more to do than there is time for, the clock
    /// does that.
    #[inline]
    pub(crate) fn advance(&mut self, now: u64) {
        if !self.vhost.has_backlog() && self.vhost.next_deadline() <= now {
            self.catch_up(now);
        }
    }

    /// Does what has fallen due and what there was no time for.
    pub(crate) fn catch_up(&mut self, now: u64) {
        self.vhost.advance(now, &mut self.outboxes);
    }

    /// Holds publishers back when all takes too much memory, and lets them go on when it does not.
    #[inline]
    pub(crate) fn look_at_memory(&mut self) {
        let is_low = self.vhost.held() > self.limit;
        if is_low != self.alarm.is_low_on_memory() {
            let released = self.alarm.low_on_memory(is_low);
            self.release(released);
        }
    }

    /// Notes that a channel has so many bytes, instead of so many before, that it has not published. Nobody is held back for
    /// them: who is not read from could never complete what is begun.
    ///
    /// # Errors
    /// When all channels have more than messages may take.
    pub(crate) fn note_unpublished(&mut self, before: u64, now: u64) -> Result<(), Refusal> {
        self.unpublished = self.unpublished.saturating_sub(before).saturating_add(now);
        let limit = self.limit;
        if now > before && self.unpublished > limit {
            return Err(Refusal::TooMuchUnpublished { limit });
        }
        Ok(())
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub(crate) fn next_deadline(&self) -> u64 {
        self.vhost.next_deadline()
    }
}

/// An operation: when, on what, for whom.
pub(crate) struct Operation<'a> {
    pub(crate) now: u64,
    pub(crate) shared: &'a mut Shared,
    pub(crate) by: ConnectionId,
    pub(crate) max_message_size: u64,
    /// What could not be done in this turn.
    pub(crate) paused: Option<Box<Paused>>,
}

impl Operation<'_> {
    /// Goes on with an operation; tells whether it is done.
    pub(super) fn proceed(&mut self, paused: &mut Paused) -> Result<bool, Refusal> {
        let Shared { vhost, outboxes, .. } = &mut *self.shared;
        match &mut paused.then {
            Then::SayDeleted(_, cancelled) => {
                let mut sink = OwnCancelsLater { outboxes, own: (self.by, paused.number), tags: cancelled };
                vhost.proceed(self.now, &mut paused.work, &mut sink)
            }
            _ => vhost.proceed(self.now, &mut paused.work, outboxes),
        }
    }
}
