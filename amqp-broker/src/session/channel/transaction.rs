//! Transactions (<https://www.rabbitmq.com/docs/semantics#tx>).

use amqp_codec::{Arguments, method::tx};

use super::{ChannelSession, Mode, Pending};
use crate::{
    core::{
        entities::channel::ChannelMode,
        entities::ids::ChannelId,
        rabbitmq::refusal::Refusal,
        vhost::operations::publish::Publisher,
        work::{Work, commit::Rollback},
    },
    session::{paused::Then, shared::Operation},
};

impl ChannelSession {
    pub(super) fn transaction(
        &mut self,
        op: &mut Operation<'_>,
        key: ChannelId,
        method: &tx::Method,
    ) -> Result<(), Refusal> {
        match (method, &mut self.mode) {
            (tx::Method::Select(_), Mode::Confirm { .. }) => return Err(Refusal::ConfirmToTx),
            (tx::Method::Select(_), mode) => {
                if matches!(mode, Mode::Plain) {
                    *mode = Mode::Transaction(Pending::default());
                    op.shared.vhost.note_mode(key, ChannelMode::Transaction);
                }
                self.reply(op, &tx::SelectOk {});
            }
            (tx::Method::Commit(_), Mode::Transaction(pending)) => {
                let Pending { publishes, weight, .. } = std::mem::take(pending);
                self.weigh_unpublished(op);
                let by = Publisher { connection: op.by, channel: key };
                let work = Work::Commit(Box::new(op.shared.vhost.commit(by, publishes, weight)));
                self.run(op, tx::Commit::ID, work, Then::Commit)?;
            }
            (tx::Method::Rollback(_), Mode::Transaction(pending)) => {
                let publishes = std::mem::take(pending).publishes;
                self.weigh_unpublished(op);
                let answer = self.answer_unless(false, op, &tx::RollbackOk {});
                let work = Work::Rollback(Box::new(Rollback::new(key, publishes)));
                self.run(op, tx::Rollback::ID, work, Then::Say(answer))?;
            }
            (tx::Method::Commit(_) | tx::Method::Rollback(_), _) => return Err(Refusal::NotTransactional),
            _ => return Err(Refusal::UnimplementedMethod),
        }
        Ok(())
    }
}
