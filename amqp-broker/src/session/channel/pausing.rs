//! Operations of a channel that continue in later turns.

use amqp_codec::{
    MethodId, ReplyCode,
    method::{basic, tx},
};
use bytes::Bytes;

use super::{ChannelSession, Mode};
use crate::{
    core::{
        rabbitmq::refusal::Refusal,
        work::{
            Work,
            publishing::{Published, Publishing},
            removal::Removal,
        },
    },
    session::{
        incoming::PublishFlags,
        paused::{Paused, Then},
        shared::Operation,
    },
};

impl ChannelSession {
    /// Puts the rest of an operation off to a later turn.
    pub(super) fn pause(&self, op: &mut Operation<'_>, method: MethodId, work: Work, then: Then) {
        op.paused = Some(Box::new(Paused { number: self.number, method, work, then }));
    }

    /// Executes the rest of an operation, in this turn or in later ones, and then answers.
    pub(super) fn run(
        &mut self,
        op: &mut Operation<'_>,
        method: MethodId,
        work: Work,
        then: Then,
    ) -> Result<(), Refusal> {
        let mut paused = Paused { number: self.number, method, work, then };
        // The answer also waits for what the method has changed already.
        self.note_change(op);
        if self.proceed(op, &mut paused)? {
            return self.finish(op, paused);
        }
        op.paused = Some(Box::new(paused));
        Ok(())
    }

    /// Executes a removal, and answers when it is done.
    pub(super) fn remove(
        &mut self,
        op: &mut Operation<'_>,
        method: MethodId,
        removal: Removal,
        answer: Option<Bytes>,
    ) -> Result<(), Refusal> {
        self.run(op, method, Work::Remove(Box::new(removal)), Then::Say(answer))
    }

    /// Continues an operation of this channel; returns whether it is done.
    pub(crate) fn proceed(&mut self, op: &mut Operation<'_>, paused: &mut Paused) -> Result<bool, Refusal> {
        self.begin_change(op);
        let is_done = op.proceed(paused);
        self.note_change(op);
        is_done
    }

    /// Answers an operation that is done.
    pub(crate) fn finish(&mut self, op: &mut Operation<'_>, paused: Paused) -> Result<(), Refusal> {
        match (paused.then, paused.work) {
            (Then::Say(answer), _) => self.say_answer(op, answer),
            (Then::SayDeleted(answer, cancelled), _) => {
                self.say_answer(op, answer);
                for consumer_tag in cancelled {
                    self.reply(op, &basic::Cancel { consumer_tag, no_wait: true });
                }
            }
            (Then::Publish(flags), Work::Publish(publishing)) => {
                self.return_unroutable(op, flags, &publishing);
                self.answer_publish(op, publishing.outcome());
            }
            (Then::Prepare(flags), Work::Prepare(publishing)) => {
                if let Mode::Transaction(pending) = &mut self.mode {
                    let prepared = publishing.into_prepared(flags.mandatory);
                    pending.weight += prepared.weight();
                    pending.publishes.push_back(prepared);
                    pending.count += 1;
                }
                self.weigh_unpublished(op);
            }
            (Then::Commit, Work::Commit(commit)) if commit.is_whole => self.reply(op, &tx::CommitOk {}),
            (Then::Commit, _) => return Err(Refusal::PartialCommit),
            _ => {}
        }
        Ok(())
    }

    fn return_unroutable(&self, op: &mut Operation<'_>, flags: PublishFlags, publishing: &Publishing) {
        if publishing.outcome() == Published::Unroutable
            && let Some(channel) = self.key
        {
            op.shared.vhost.count_unroutable(channel, flags.mandatory);
        }
        if publishing.outcome() == Published::Unroutable
            && flags.mandatory
            && let Some(outbox) = op.shared.outboxes.of(op.by)
        {
            outbox.returned(self.number, ReplyCode::NO_ROUTE.0, "NO_ROUTE", publishing.parts());
        }
    }
}
