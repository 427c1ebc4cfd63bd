//! Everything under a virtual host's one lock, and the parameters of an operation under it.

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

/// A virtual host, and the output of its connections.
pub(crate) struct Shared {
    pub(crate) vhost: Vhost,
    pub(crate) outboxes: Outboxes,
    pub(crate) alarm: Alarm,
    pub(crate) publish_faults: Arc<PublishFaults>,
    /// Answers that wait for the disk.
    pub(crate) pending_answers: PendingAnswers,
    pub(crate) holdings: Holdings,
    /// How many bytes wait for the disk.
    pub(crate) disk_backlog: u64,
    /// The memory limit, in bytes.
    limit: u64,
    /// How long a connection that holds more than its share may be stalled, in milliseconds.
    stall_timeout: u64,
    /// When to check next for stalled connections, if there can be any.
    stalled_due: Option<u64>,
    /// The connections that are not read because they hold more than their share.
    waiting_for_room: BTreeSet<ConnectionId>,
}

impl Shared {
    /// Creates the shared state of a virtual host; at `memory` bytes publishers are held back.
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

    /// Holds publishers back for this reason, or releases them.
    pub(crate) fn block(&mut self, reason: Option<ShortString>) {
        let released = self.alarm.want(reason);
        self.release(released);
    }

    /// Releases connections that were held back.
    fn release(&mut self, held_back: Vec<(ConnectionId, bool)>) {
        for (id, told) in held_back {
            if told {
                self.outboxes.send(id, 0, &connection::Unblocked {});
            } else {
                self.outboxes.of(id);
            }
        }
    }

    /// Notes that all changes up to this one are on disk, and whether the disk has room for more.
    /// Returns whether all answers that waited for them are sent.
    pub(crate) fn on_disk(&mut self, change: u64, has_room: bool) -> bool {
        while let Some(answer) = self.pending_answers.next_on_disk(change) {
            self.vhost.budget.spend(1);
            // A connection that stopped reading until this change continues, even if its channel
            // has ended.
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

    /// Notes whether the disk has room for more changes.
    pub(crate) fn disk_follows(&mut self, has_room: bool) {
        let released = self.alarm.behind(!has_room);
        self.release(released);
    }

    /// Notes whether disk space is low.
    #[cfg(feature = "durable")]
    pub(crate) fn low_on_disk(&mut self, is_low: bool) {
        let released = self.alarm.low_on_disk(is_low);
        self.release(released);
    }

    /// Notes that the disk has failed.
    pub(crate) fn disk_failed(&mut self) {
        for answer in self.pending_answers.fail() {
            if self.vhost.has_channel(answer.channel)
                && let (Some(failure), Some(outbox)) = (answer.failure, self.outboxes.of(answer.to))
            {
                outbox.frame(&failure);
            }
        }
    }

    /// Executes the rest of an operation that nobody waits for.
    pub(crate) fn leave_behind(&mut self, now: u64, mut work: Work) {
        // Nobody is left whom an error could be told.
        if !self.vhost.proceed(now, &mut work, &mut self.outboxes).unwrap_or(true) {
            self.vhost.background.abandon(work);
        }
    }

    /// Does what is due before another operation begins. While more is left over than a turn
    /// allows, the clock does it.
    #[inline]
    pub(crate) fn advance(&mut self, now: u64) {
        if !self.vhost.has_backlog() && self.vhost.next_deadline() <= now {
            self.catch_up(now);
        }
    }

    /// Does what is due or left over.
    pub(crate) fn catch_up(&mut self, now: u64) {
        self.vhost.advance(now, &mut self.outboxes);
    }

    /// Sets how long a connection that holds more than its share may be stalled, in milliseconds.
    pub(crate) fn set_stall_timeout(&mut self, milliseconds: u64) {
        self.stall_timeout = milliseconds;
    }

    /// The memory limit, in bytes.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.limit
    }

    /// How many bytes do not belong to a connection.
    fn held_in_common(&self) -> u64 {
        self.vhost.held() + self.disk_backlog
    }

    /// Returns how many bytes count towards the limit.
    pub(crate) fn memory_in_use(&self) -> u64 {
        self.held_in_common() + self.holdings.total()
    }

    /// How many bytes all connections together may hold: what messages leave of the limit, but
    /// never less or more than certain fractions of it.
    fn room(&self) -> u64 {
        self.limit.saturating_sub(self.held_in_common()).clamp(self.limit / 8, self.limit / 2)
    }

    /// Tells whether connections together hold too much, and this one holds more than its share.
    pub(crate) fn is_over_share(&self, id: ConnectionId) -> bool {
        let room = self.room();
        self.holdings.total() > room && self.holdings.held(id) > room / self.holdings.connections().max(1)
    }

    /// Notes that a connection is not read until there is room.
    pub(crate) fn wait_for_room(&mut self, id: ConnectionId) {
        self.waiting_for_room.insert(id);
    }

    /// Tells whether the memory alarm has to be set or cleared.
    #[inline]
    pub(crate) fn has_memory_changed(&self) -> bool {
        let used = self.memory_in_use();
        match self.alarm.is_low_on_memory() {
            false => used > self.limit,
            // The alarm is cleared a little below the limit, so that it does not change with every
            // message.
            true => used <= self.limit - self.limit / 16,
        }
    }

    /// Counts the output of connections.
    #[inline]
    pub(crate) fn weigh_outboxes(&mut self) {
        while let Some((id, bytes, buffer)) = self.outboxes.next_weighed() {
            self.holdings.unread(id, bytes, buffer);
        }
        self.vhost.held_elsewhere = self.holdings.total() + self.disk_backlog;
    }

    /// Sets or clears the memory alarm; resumes reading connections that held too much, and closes
    /// stalled ones.
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
            false => tracing::info!(vhost, limit, "publishers continue: memory is available again"),
        }
        let released = self.alarm.low_on_memory(is_low);
        self.release(released);
    }

    #[cold]
    fn look_at_holdings(&mut self, now: u64) {
        // While connections together hold too much, each may hold an equal share.
        let room = self.room();
        let share = room / self.holdings.connections().max(1);
        let is_over = self.holdings.total() > room;
        self.outboxes.limit_replies(if is_over { share } else { self.limit / 16 }, is_over);
        // Connections that are read from must not fill the freed memory with deliveries.
        self.outboxes.limit_deliveries(is_over.then_some(share / 2));
        // Stalled connections are closed after a while.
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
                    "stalled connections that hold too much memory are closed"
                );
            }
            self.stalled_due = Some(now + patience.look_every());
        }
        // Connections that waited and no longer hold too much are read again.
        let mut waiting = std::mem::take(&mut self.waiting_for_room);
        waiting.retain(|id| {
            let waits = is_over && self.holdings.held(*id) > share;
            if !waits {
                // Getting the outbox wakes the connection.
                self.outboxes.of(*id);
            }
            waits
        });
        self.waiting_for_room = waiting;
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub(crate) fn next_deadline(&self) -> u64 {
        self.vhost.next_deadline().min(self.stalled_due.unwrap_or(u64::MAX))
    }
}

/// The parameters of an operation: the time, the shared state and the connection.
pub(crate) struct Operation<'a> {
    pub(crate) now: u64,
    pub(crate) shared: &'a mut Shared,
    pub(crate) by: ConnectionId,
    pub(crate) max_message_size: u64,
    /// The work that is left for the next turn.
    pub(crate) paused: Option<Box<Paused>>,
    /// The change in how many bytes of content the client has sent that are not published.
    pub(crate) unpublished: i64,
}

impl Operation<'_> {
    /// Continues an operation; returns whether it is done.
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
