//! All that is under a virtual host's one lock, and the things that an operation under it is given.

use std::{collections::BTreeSet, sync::Arc};

use amqp_codec::{ShortString, method::connection};

use crate::{
    core::{entities::ids::ConnectionId, rabbitmq::refusal::Refusal, vhost::Vhost, work::Work},
    faults::publish_faults::PublishFaults,
    shown::shown,
};

use super::{
    alarm::Alarm,
    command::Command,
    holdings::{Holdings, Patience},
    outbox::{Outboxes, OwnCancelsLater},
    paused::{Paused, Then},
    pending_answers::PendingAnswers,
};

/// A virtual host and what waits to be written to its connections.
pub(crate) struct Shared {
    pub(crate) vhost: Vhost,
    pub(crate) outboxes: Outboxes,
    pub(crate) alarm: Alarm,
    pub(crate) publish_faults: Arc<PublishFaults>,
    /// Answers that wait for the disk.
    pub(crate) pending_answers: PendingAnswers,
    pub(crate) holdings: Holdings,
    /// Bytes that wait for the disk.
    pub(crate) disk_backlog: u64,
    /// Bytes that all of it may take.
    limit: u64,
    /// The time for which a connection that holds more than its share may get nowhere, in
    /// milliseconds.
    stall_timeout: u64,
    /// The time of the next look at who does, if anybody may.
    stalled_due: Option<u64>,
    /// Those who are not read from, for they hold more than their share.
    waiting_for_room: BTreeSet<ConnectionId>,
}

impl Shared {
    /// A virtual host whose messages may take so much memory, in bytes, before publishers are held
    /// back.
    pub(crate) fn new(vhost: Vhost, publish_faults: Arc<PublishFaults>, memory: u64) -> Self {
        Shared {
            vhost,
            outboxes: Outboxes::default(),
            alarm: Alarm::default(),
            publish_faults,
            pending_answers: PendingAnswers::default(),
            holdings: Holdings::default(),
            disk_backlog: 0,
            limit: memory,
            stall_timeout: 30_000,
            stalled_due: None,
            waiting_for_room: BTreeSet::new(),
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

    /// All changes up to this one are on disk, and whether it can follow. Tells whether all answers
    /// are said that waited for it.
    pub(crate) fn on_disk(&mut self, change: u64, has_room: bool) -> bool {
        while let Some(answer) = self.pending_answers.next_on_disk(change) {
            self.vhost.budget.spend(1);
            // A connection that reads nothing until this is on disk goes on, even if nobody wants
            // the answer any more.
            if let Some(outbox) = self.outboxes.of(answer.to)
                && self.vhost.has_channel(answer.channel)
            {
                outbox.frame(&answer.frame);
            }
            if self.vhost.budget.is_over() {
                return false;
            }
        }
        self.disk_follows(has_room);
        true
    }

    /// Notes whether the disk can follow.
    pub(crate) fn disk_follows(&mut self, has_room: bool) {
        let released = self.alarm.behind(!has_room);
        self.release(released);
    }

    /// Notes whether there is little room on the disk.
    #[cfg(feature = "durable")]
    pub(crate) fn low_on_disk(&mut self, is_low: bool) {
        let released = self.alarm.low_on_disk(is_low);
        self.release(released);
    }

    /// Nothing gets to the disk any more.
    pub(crate) fn disk_failed(&mut self) {
        for answer in self.pending_answers.fail() {
            if self.vhost.has_channel(answer.channel)
                && let (Some(failure), Some(outbox)) = (answer.failure, self.outboxes.of(answer.to))
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

    /// Does what has fallen due, before somebody does something else. While there is more to do
    /// than there is time for, the clock does that.
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

    /// Lets who holds more than its share get nowhere for so long, in milliseconds.
    pub(crate) fn set_stall_timeout(&mut self, milliseconds: u64) {
        self.stall_timeout = milliseconds;
    }

    /// Bytes that all of it may take.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that are not connections' own.
    fn held_in_common(&self) -> u64 {
        self.vhost.held() + self.disk_backlog
    }

    /// Bytes that all connections together may hold: what messages leave, though not all when there
    /// are few of those, nor nothing when there are many.
    fn room(&self) -> u64 {
        self.limit.saturating_sub(self.held_in_common()).clamp(self.limit / 8, self.limit / 2)
    }

    /// Tells whether connections hold more than they may, and this one has a part in it: more than
    /// its share.
    pub(crate) fn is_over_share(&self, id: ConnectionId) -> bool {
        let room = self.room();
        self.holdings.total() > room && self.holdings.held(id) > room / self.holdings.connections().max(1)
    }

    /// It is not read from until there is room.
    pub(crate) fn wait_for_room(&mut self, id: ConnectionId) {
        self.waiting_for_room.insert(id);
    }

    /// Tells whether memory is short, or not short any more, otherwise than publishers were told
    /// last.
    #[inline]
    pub(crate) fn has_memory_changed(&self) -> bool {
        let used = self.held_in_common() + self.holdings.total();
        match self.alarm.is_low_on_memory() {
            false => used > self.limit,
            // Not at once: publishers are not to be told of every message.
            true => used <= self.limit - self.limit / 16,
        }
    }

    /// Weighs what connections have got to read.
    #[inline]
    pub(crate) fn weigh_outboxes(&mut self) {
        while let Some((id, bytes, buffer)) = self.outboxes.next_weighed() {
            self.holdings.unread(id, bytes, buffer);
        }
        self.vhost.held_elsewhere = self.holdings.total() + self.disk_backlog;
    }

    /// Holds publishers back when all takes too much memory, and lets them go on when it does not;
    /// lets those be read from again who held too much, and closes them when they get nowhere.
    #[inline]
    pub(crate) fn look_at_memory(&mut self, now: u64) {
        self.weigh_outboxes();
        if self.has_memory_changed() {
            self.change_alarm();
        }
        if self.stalled_due.is_some() || self.holdings.total() > self.limit / 8 {
            self.look_at_holdings(now);
        }
    }

    #[cold]
    fn change_alarm(&mut self) {
        let (is_low, vhost, limit) = (!self.alarm.is_low_on_memory(), shown(self.vhost.name()), self.limit);
        match is_low {
            true => tracing::warn!(vhost, limit, "publishers are held back: memory is short"),
            false => tracing::info!(vhost, limit, "publishers go on: there is memory again"),
        }
        let released = self.alarm.low_on_memory(is_low);
        self.release(released);
    }

    #[cold]
    fn look_at_holdings(&mut self, now: u64) {
        let room = self.room();
        let share = room / self.holdings.connections().max(1);
        let is_over = self.holdings.total() > room;
        self.outboxes.limit_replies(if is_over { share } else { self.limit / 16 }, is_over);
        // Those who read are not to hold for others what is sent to them instead.
        self.outboxes.limit_deliveries(is_over.then_some(share / 2));
        if !is_over {
            self.stalled_due = None;
        } else if self.stalled_due.is_none_or(|due| due <= now) {
            let refusal = Refusal::TooMuchHeld { share };
            let command = Command::Close { code: refusal.code(), text: refusal.reply_text() };
            let patience = Patience { share, timeout: self.stall_timeout };
            let closed = self.holdings.close_stalled(now, patience, &command);
            if closed > 0 {
                let vhost = shown(self.vhost.name());
                tracing::warn!(
                    vhost,
                    closed,
                    share,
                    "connections hold too much memory and get nowhere: closed"
                );
            }
            self.stalled_due = Some(now + patience.look_every());
        }
        let mut waiting = std::mem::take(&mut self.waiting_for_room);
        waiting.retain(|id| {
            let waits = is_over && self.holdings.held(*id) > share;
            if !waits {
                // It is woken.
                self.outboxes.of(*id);
            }
            waits
        });
        self.waiting_for_room = waiting;
    }

    /// The time at which [`advance`](Self::advance) has something to do next.
    pub(crate) fn next_deadline(&self) -> u64 {
        self.vhost.next_deadline().min(self.stalled_due.unwrap_or(u64::MAX))
    }
}

/// An operation: when, on what, for whom.
pub(crate) struct Operation<'a> {
    pub(crate) now: u64,
    pub(crate) shared: &'a mut Shared,
    pub(crate) by: ConnectionId,
    pub(crate) max_message_size: u64,
    /// The work that could not be done in this turn.
    pub(crate) paused: Option<Box<Paused>>,
    /// The bytes more, or less, that the client has sent and that are no messages yet.
    pub(crate) unpublished: i64,
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
