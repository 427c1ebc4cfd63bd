//! The end of a connection, or of one of its channels, when the broker closes it or the client is
//! gone.

use amqp_codec::{
    MethodId, ReplyCode, ShortString,
    method::{Arguments as _, basic, channel, connection},
};

use super::{ConnectionSession, Failure, Phase};
use crate::{
    core::{
        collections::segments::Segments,
        rabbitmq::refusal::Refusal,
        work::{Work, publishing::Prepared},
    },
    faults::publish_faults::PublishFault,
    session::{
        command::cut,
        incoming::blamed,
        shared::{Operation, Shared},
    },
    shown::shown,
};

impl ConnectionSession {
    /// Takes the work that remains when the client is gone.
    pub(crate) fn take_work(&mut self, shared: &mut Shared) -> Work {
        let left =
            Work::Remove(Box::new(shared.vhost.disconnect(self.id).with_publishes(self.take_publishes())));
        match self.paused.take() {
            None => left,
            // The commit needs nothing more of its channel, which is removed without waiting for
            // the other transactions.
            Some(paused) if shared.vhost.background.waits(&paused.work) => {
                shared.vhost.background.abandon(paused.into_work());
                left
            }
            Some(paused) => Work::InOrder([paused.into_work(), left].into()),
        }
    }

    /// The publishes of all its transactions, which will not be committed.
    pub(super) fn take_publishes(&mut self) -> Vec<Segments<Prepared>> {
        self.channels.iter_mut().flatten().filter_map(|channel| channel.take_publishes()).collect()
    }

    pub(super) fn fail(&mut self, op: &mut Operation<'_>, number: u16, failure: Failure) {
        let Failure { refusal, method } = failure;
        if refusal == Refusal::NotYet {
            self.is_to_repeat = true;
            return;
        }
        if self.is_closing() {
            return;
        }
        if let Refusal::Injected(fault) = refusal {
            return self.inject(op, number, fault);
        }
        let method = blamed(&refusal).unwrap_or(method);
        if refusal.closes_connection() || number == 0 {
            self.close(op, &refusal, method);
            return;
        }
        let connection = &self.terms.name;
        tracing::debug!(connection, channel = number, error = shown(&refusal), "channel closed");
        self.end_channel(op, number, refusal.code(), refusal.reply_text(), method);
    }

    /// Executes a test's publish fault on this channel.
    #[cold]
    fn inject(&mut self, op: &mut Operation<'_>, number: u16, fault: PublishFault) {
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

    /// Closes a channel, after confirming earlier publishes.
    pub(super) fn end_channel(
        &mut self,
        op: &mut Operation<'_>,
        number: u16,
        code: ReplyCode,
        text: ShortString,
        method: MethodId,
    ) {
        let Some(channel) = self.channel(number) else { return };
        channel.confirm(op);
        let work = channel.end(op);
        self.leave_behind(op, number, work);
        let MethodId { class_id, method_id } = method;
        let close = channel::Close { reply_code: code.0, reply_text: text, class_id, method_id };
        op.shared.outboxes.send(op.by, number, &close);
    }

    /// Closes the connection because of malformed frames; nothing more can be parsed.
    pub(super) fn fail_frame(&mut self, op: &mut Operation<'_>, refusal: &Refusal) {
        if self.phase == Phase::Running {
            self.close(op, refusal, MethodId::default());
        }
        self.phase = Phase::Deaf;
    }

    pub(super) fn close(&mut self, op: &mut Operation<'_>, refusal: &Refusal, method: MethodId) {
        self.close_with(op, refusal.code(), refusal.reply_text(), method);
    }

    pub(super) fn close_with(
        &mut self,
        op: &mut Operation<'_>,
        code: ReplyCode,
        text: ShortString,
        method: MethodId,
    ) {
        self.why = Some(format!("the broker closed it: {} {text}", code.0));
        self.confirm(op);
        let work =
            Work::Remove(Box::new(op.shared.vhost.leave(self.id).with_publishes(self.take_publishes())));
        self.leave_behind(op, 0, work);
        let MethodId { class_id, method_id } = method;
        let close = connection::Close { reply_code: code.0, reply_text: text, class_id, method_id };
        op.shared.outboxes.send(self.id, 0, &close);
        // Content that was begun on them will not be completed.
        self.channels = Vec::new();
        self.unpublished = 0;
        op.unpublished = 0;
        op.shared.holdings.received(self.id, 0, 0);
        self.phase = Phase::Closing;
    }

    /// Executes what remains of a channel, or with 0 of all channels, without anybody waiting for
    /// it.
    pub(super) fn leave_behind(&mut self, op: &mut Operation<'_>, number: u16, mut work: Work) {
        if let Some(paused) = self.paused.take_if(|paused| [0, paused.number].contains(&number)) {
            work = Work::InOrder([paused.into_work(), work].into());
        }
        op.shared.leave_behind(op.now, work);
    }
}
