//! A channel's answers. An answer is not sent before the change that it promises is on disk.

use amqp_codec::{Arguments, method::basic};
use bytes::Bytes;

use super::ChannelSession;
use crate::session::{pending_answers::PendingAnswer, shared::Operation};

impl ChannelSession {
    /// The change that must be on disk before a method with an immediate answer is processed, so
    /// that the answer overtakes no other.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    pub(super) fn reply<A: Arguments>(&mut self, op: &mut Operation<'_>, method: &A) {
        let change = self.say(op, method, None);
        self.answered = self.answered.max(change);
    }

    /// Sends an answer once the remaining work is done, unless the client wants none.
    pub(super) fn answer_unless<A: Arguments>(
        &self,
        no_wait: bool,
        op: &mut Operation<'_>,
        method: &A,
    ) -> Option<Bytes> {
        (!no_wait).then(|| op.shared.outboxes.encoded(op.by, self.number, method))
    }

    pub(super) fn say_answer(&mut self, op: &mut Operation<'_>, answer: Option<Bytes>) {
        let Some(frame) = answer else { return };
        let change = self.promised(op);
        self.answered = self.answered.max(change);
        match self.key {
            Some(channel) if !op.shared.pending_answers.is_on_disk(change) => {
                op.shared.pending_answers.hold(PendingAnswer {
                    change,
                    to: op.by,
                    channel,
                    frame,
                    failure: None,
                });
            }
            _ => {
                if let Some(outbox) = op.shared.outboxes.of(op.by) {
                    outbox.frame(&frame);
                }
            }
        }
    }

    /// The change that must be on disk before the next answer.
    pub(super) fn promised(&self, op: &Operation<'_>) -> u64 {
        let changes = op.shared.vhost.changes() > self.seen;
        if changes { op.shared.pending_answers.next_change() } else { self.changed }
    }

    /// Sends an answer when all of this channel's changes are on disk, or `failure` when the disk
    /// fails. Returns the change that it waits for.
    pub(super) fn say<A: Arguments>(
        &self,
        op: &mut Operation<'_>,
        method: &A,
        failure: Option<&basic::Nack>,
    ) -> u64 {
        let change = self.promised(op);
        let shared = &mut *op.shared;
        match self.key {
            Some(channel) if !shared.pending_answers.is_on_disk(change) => {
                shared.pending_answers.hold(PendingAnswer {
                    change,
                    to: op.by,
                    channel,
                    frame: shared.outboxes.encoded(op.by, self.number, method),
                    failure: failure.map(|nack| shared.outboxes.encoded(op.by, self.number, nack)),
                });
            }
            _ => shared.outboxes.send(op.by, self.number, method),
        }
        change
    }

    /// Begins to watch whether an operation makes a persistent change.
    #[inline]
    pub(super) fn begin_change(&mut self, op: &Operation<'_>) {
        self.seen = op.shared.vhost.changes();
    }

    /// Notes whether the operation has made a persistent change.
    #[inline]
    pub(super) fn note_change(&mut self, op: &Operation<'_>) {
        if op.shared.vhost.changes() > self.seen {
            self.changed = op.shared.pending_answers.next_change();
        }
    }

    pub(super) fn reply_unless<A: Arguments>(&mut self, no_wait: bool, op: &mut Operation<'_>, method: &A) {
        if !no_wait {
            self.reply(op, method);
        }
    }
}
