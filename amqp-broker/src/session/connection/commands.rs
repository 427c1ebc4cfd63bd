//! Commands to a connection from others than its client.

use amqp_codec::{
    MethodId, ReplyCode,
    method::{Arguments as _, basic},
};

use super::{ConnectionSession, Phase};
use crate::{
    core::rabbitmq::refusal::Refusal,
    faults::publish_faults::PublishFault,
    session::{
        command::{Command, cut},
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

    /// Executes a test's publish fault on this channel.
    #[cold]
    pub(super) fn inject(&mut self, op: &mut Operation<'_>, number: u16, fault: PublishFault) {
        match fault {
            PublishFault::DropConnection => {
                self.confirm(op);
                self.why = Some("a test dropped it".to_owned());
                self.phase = Phase::Finished;
            }
            PublishFault::CloseConnection { code, text } => {
                self.close_with(op, ReplyCode(code), cut(&text), basic::Publish::ID);
            }
            PublishFault::CloseChannel { code, text } => {
                self.end_channel(op, number, ReplyCode(code), cut(&text), basic::Publish::ID);
            }
            // These only answer a publish; the channel goes on.
            PublishFault::Nack | PublishFault::Return => {}
        }
    }
}
