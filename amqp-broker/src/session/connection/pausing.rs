//! Operations of a connection that continue in later turns.

use amqp_codec::{
    Arguments,
    method::{basic, connection},
};

use super::{ConnectionSession, Failure, Phase, Wants};
use crate::{
    core::rabbitmq::refusal::Refusal,
    session::{
        paused::{Paused, Then},
        shared::{Operation, Shared},
    },
};

impl ConnectionSession {
    /// Continues the interrupted operation; returns whether it is done.
    pub(super) fn go_on(&mut self, op: &mut Operation<'_>) -> bool {
        let Some(mut paused) = self.paused.take() else { return true };
        let (number, method) = (paused.number, paused.method);
        let channel = self.channels.get_mut(usize::from(number)).and_then(Option::as_deref_mut);
        let result = match channel {
            Some(channel) => channel.proceed(op, &mut paused),
            None => op.proceed(&mut paused),
        };
        let result = match result {
            Ok(false) => {
                self.paused = Some(paused);
                return false;
            }
            Ok(true) => self.finish(op, *paused),
            Err(refusal) => Err(refusal),
        };
        match result {
            Err(refusal) => self.fail(op, number, Failure { refusal, method }),
            Ok(()) if method == basic::Publish::ID => self.note_content(number),
            Ok(()) => {}
        }
        true
    }

    /// What has to happen before the interrupted operation continues.
    pub(super) fn next_turn(&self, shared: &Shared) -> Wants {
        if self.waits(shared) { Wants::Commit } else { Wants::Turn }
    }

    /// Tells whether the interrupted operation waits for other transactions. Their end wakes it.
    pub(crate) fn waits(&self, shared: &Shared) -> bool {
        self.paused.as_ref().is_some_and(|paused| shared.vhost.background.waits(&paused.work))
    }

    /// Answers an operation that is done.
    fn finish(&mut self, op: &mut Operation<'_>, paused: Paused) -> Result<(), Refusal> {
        if let Then::Close = paused.then {
            op.shared.outboxes.send(self.id, 0, &connection::CloseOk {});
            self.phase = Phase::Left;
            return Ok(());
        }
        let slot = self.channels.get_mut(usize::from(paused.number));
        match (slot.and_then(Option::as_deref_mut), paused.then) {
            (Some(channel), then) => channel.finish(op, Paused { then, ..paused }),
            (None, Then::Say(Some(frame))) => {
                if let Some(outbox) = op.shared.outboxes.of(self.id) {
                    outbox.frame(&frame);
                }
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Executes the rest of an operation of this connection, in this turn or in later ones, and
    /// then answers.
    pub(super) fn run(&mut self, op: &mut Operation<'_>, paused: Paused) {
        self.paused = Some(Box::new(paused));
        self.go_on(op);
    }
}
