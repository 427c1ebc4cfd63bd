//! Publishes on a channel.

use amqp_codec::{Arguments as _, ReplyCode, borrowed::Publish, method::basic};

use super::{ChannelSession, Mode};
use crate::{
    core::{
        rabbitmq::refusal::Refusal,
        vhost::operations::publish::Publisher,
        work::{
            Work,
            publishing::{Published, Publishing},
            step::Step,
        },
    },
    faults::publish_faults::PublishFault,
    session::{
        incoming::{Part, PublishFlags},
        paused::Then,
        shared::Operation,
    },
};

impl ChannelSession {
    /// Takes a publish; its content follows.
    #[inline]
    pub(crate) fn publish(&mut self, publish: &Publish<'_>) -> Result<(), Refusal> {
        self.incoming.publish(publish)
    }

    /// Takes a content header.
    #[inline]
    pub(crate) fn header(&mut self, op: &mut Operation<'_>, payload: &[u8]) -> Result<(), Refusal> {
        let limit = op.shared.memory_limit();
        if self.incoming.header(payload, op.max_message_size, limit)? { self.published(op) } else { Ok(()) }
    }

    /// Takes a part of a body.
    #[inline]
    pub(crate) fn body(&mut self, op: &mut Operation<'_>, part: Part<'_>) -> Result<(), Refusal> {
        if self.incoming.body(part)? { self.published(op) } else { Ok(()) }
    }

    /// Handles a complete message.
    #[inline]
    fn published(&mut self, op: &mut Operation<'_>) -> Result<(), Refusal> {
        let flags = self.incoming.flags;
        if flags.immediate {
            return Err(Refusal::NotImplemented("immediate=true".to_owned()));
        }
        // In a transaction the message is only routed now, and published at the commit.
        if let Mode::Transaction(pending) = &self.mode {
            let most = op.shared.vhost.most_in_transaction();
            if pending.count >= most {
                return Err(Refusal::TransactionFull(most));
            }
            let Some(channel) = self.key else { return Ok(()) };
            let publisher = Publisher { connection: op.by, channel };
            let publishing = op.shared.vhost.prepare(publisher, &mut self.incoming.draft)?;
            return self.run(op, basic::Publish::ID, Work::Prepare(publishing), Then::Prepare(flags));
        }
        // A fault that a test has ordered replaces the publish.
        let outcome = match self.inject(op, flags)? {
            Some(outcome) => outcome,
            None => {
                self.begin_change(op);
                let step = self.put(op, flags)?;
                self.note_change(op);
                match step {
                    Step::Done(outcome) => outcome,
                    Step::Paused(publishing) => {
                        let work = Work::Publish(publishing);
                        self.pause(op, basic::Publish::ID, work, Then::Publish(flags));
                        return Ok(());
                    }
                }
            }
        };
        self.answer_publish(op, outcome);
        Ok(())
    }

    /// Handles a publish for which a test has ordered a fault.
    #[inline]
    fn inject(&mut self, op: &mut Operation<'_>, flags: PublishFlags) -> Result<Option<Published>, Refusal> {
        if op.shared.publish_faults.is_any() { self.inject_fault(op, flags) } else { Ok(None) }
    }

    #[cold]
    fn inject_fault(
        &mut self,
        op: &mut Operation<'_>,
        flags: PublishFlags,
    ) -> Result<Option<Published>, Refusal> {
        let publish_faults = &op.shared.publish_faults;
        let planned = publish_faults.planned_for_this(self.connection.as_deref());
        let (is_nacked, is_returned) = match planned {
            Some(PublishFault::Nack) => (true, false),
            Some(PublishFault::Return) => (false, true),
            Some(fault) => return Err(Refusal::Injected(fault)),
            None => {
                let is_nacked = matches!(self.mode, Mode::Confirm { .. }) && publish_faults.nacks_this();
                (is_nacked, !is_nacked && flags.mandatory && publish_faults.returns_this())
            }
        };
        if is_nacked {
            return Ok(Some(Published::Rejected));
        }
        if !is_returned {
            return Ok(None);
        }
        if flags.mandatory
            && let Some(outbox) = op.shared.outboxes.of(op.by)
        {
            outbox.returned(self.number, ReplyCode::NO_ROUTE.0, "NO_ROUTE", self.incoming.draft.parts());
        }
        Ok(Some(Published::Unroutable))
    }

    /// Publishes the draft. If it is mandatory and no queue takes it, it is returned.
    #[inline]
    fn put(
        &mut self,
        op: &mut Operation<'_>,
        flags: PublishFlags,
    ) -> Result<Step<Published, Box<Publishing>>, Refusal> {
        let shared = &mut *op.shared;
        let draft = &mut self.incoming.draft;
        let Some(channel) = self.key else { return Ok(Step::Done(Published::Unroutable)) };
        let publisher = Publisher { connection: op.by, channel };
        let outcome =
            shared.vhost.publish(op.now, publisher, &mut self.route, draft, &mut shared.outboxes)?;
        let is_unroutable = matches!(outcome, Step::Done(Published::Unroutable));
        if is_unroutable {
            shared.vhost.count_unroutable(channel, flags.mandatory);
        }
        if is_unroutable
            && flags.mandatory
            && let Some(outbox) = shared.outboxes.of(op.by)
        {
            outbox.returned(self.number, ReplyCode::NO_ROUTE.0, "NO_ROUTE", draft.parts());
        }
        Ok(outcome)
    }
}
