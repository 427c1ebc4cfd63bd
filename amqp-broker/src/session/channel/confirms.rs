//! Publisher confirms (<https://www.rabbitmq.com/docs/confirms>). The confirms of one read are
//! combined in one method.

use amqp_codec::method::{basic, confirm};

use super::{ChannelSession, Mode};
use crate::{
    core::{entities::channel::ChannelMode, rabbitmq::refusal::Refusal, work::publishing::Published},
    session::shared::Operation,
};

impl ChannelSession {
    /// Puts the channel into confirm mode.
    pub(super) fn select_confirms(
        &mut self,
        op: &mut Operation<'_>,
        select: &confirm::Select,
    ) -> Result<(), Refusal> {
        match self.mode {
            Mode::Transaction(_) => return Err(Refusal::TxToConfirm),
            Mode::Plain => {
                self.mode = Mode::Confirm { published: 0, answered: 0, has_gap: false };
                if let Some(channel) = self.key {
                    op.shared.vhost.note_mode(channel, ChannelMode::Confirm);
                }
            }
            Mode::Confirm { .. } => {}
        }
        self.reply_unless(select.no_wait, op, &confirm::SelectOk {});
        Ok(())
    }

    /// Answers a publish: its confirm is combined with others, a nack is sent alone.
    #[inline]
    pub(super) fn answer_publish(&mut self, op: &mut Operation<'_>, outcome: Published) {
        if let Mode::Confirm { published, .. } = &mut self.mode {
            *published += 1;
            if outcome == Published::Rejected {
                self.nack(op);
            }
        }
    }

    /// Tells whether confirms are due.
    #[inline]
    pub(crate) fn owes_confirms(&self) -> bool {
        matches!(self.mode, Mode::Confirm { published, answered, .. } if answered < published)
    }

    /// Confirms all publishes since the last time in one method.
    pub(crate) fn confirm(&mut self, op: &mut Operation<'_>) {
        if let Mode::Confirm { published, answered, has_gap } = &mut self.mode
            && answered < published
        {
            let (from, to, gap) = (*answered, *published, *has_gap);
            *answered = to;
            self.ack(op, from, to, gap);
        }
    }

    /// Confirms the publishes after tag `from` up to tag `to`.
    fn ack(&mut self, op: &mut Operation<'_>, from: u64, to: u64, mut gap: bool) {
        let mut from = from;
        if let Some(channel) = self.key {
            op.shared.vhost.count_confirms(channel, to - from);
        }
        if op.shared.publish_faults.is_any() {
            let swallowed = op.shared.publish_faults.swallows_of(to - from);
            if swallowed > 0
                && let Mode::Confirm { has_gap, .. } = &mut self.mode
            {
                from += swallowed;
                *has_gap = true;
                gap = true;
            }
        }
        if gap {
            for delivery_tag in from + 1..=to {
                self.say_ack(op, delivery_tag, false);
            }
        } else if from < to {
            self.say_ack(op, to, from + 1 < to);
        }
    }

    /// Nacks the last publish, after confirming those before it.
    #[cold]
    fn nack(&mut self, op: &mut Operation<'_>) {
        let Mode::Confirm { published, answered, has_gap } = &mut self.mode else { return };
        let (tag, last, gap) = (*published, std::mem::replace(answered, *published), *has_gap);
        self.ack(op, last, tag - 1, gap);
        if op.shared.publish_faults.swallows_of(1) == 0 {
            let nack = basic::Nack { delivery_tag: tag, multiple: false, requeue: false };
            let _ = self.say(op, &nack, Some(&nack));
        } else if let Mode::Confirm { has_gap, .. } = &mut self.mode {
            *has_gap = true;
        }
    }

    fn say_ack(&self, op: &mut Operation<'_>, delivery_tag: u64, multiple: bool) {
        let nack = basic::Nack { delivery_tag, multiple, requeue: false };
        let _ = self.say(op, &basic::Ack { delivery_tag, multiple }, Some(&nack));
    }
}
