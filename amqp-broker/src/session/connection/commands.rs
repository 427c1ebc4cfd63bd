//! Commands to a connection from others than its client.

use amqp_codec::MethodId;

use super::{ConnectionSession, Phase};
use crate::{
    core::rabbitmq::refusal::Refusal,
    session::{
        command::Command,
        outbox::Outbox,
        shared::{Operation, Shared},
    },
};

impl ConnectionSession {
    /// Applies the commands of the broker.
    #[inline]
    pub(crate) fn apply_all(&mut self, now: u64, shared: &mut Shared) {
        while let Some(command) = shared.outboxes.peek(self.id).and_then(Outbox::next_command) {
            self.apply(now, shared, command);
        }
    }

    /// Applies a command from another than the client.
    pub(crate) fn apply(&mut self, now: u64, shared: &mut Shared, command: Command) {
        if self.phase != Phase::Running {
            return;
        }
        let mut op =
            Operation { now, shared, by: self.id, max_message_size: 0, paused: None, unpublished: 0 };
        match command {
            // The driver drops the stream; no frame is sent.
            Command::Drop => {}
            Command::ShutDown => self.close(&mut op, &Refusal::Shutdown, MethodId::default()),
            Command::Close { code, text } => self.close_with(&mut op, code, text, MethodId::default()),
            Command::CloseChannel { number, code, text } => {
                self.end_channel(&mut op, number, code, text, MethodId::default());
            }
        }
    }
}
