//! Declarations, completed by policies.

use amqp_codec::Table;

use super::Vhost;
use crate::core::{
    entities::{exchange::Exchange, ids::QueueId},
    rabbitmq::{
        arguments::QueueArguments,
        policies::vhost_policies::{Applied, Policies},
    },
};

impl Vhost {
    /// The work of matching a name with all policies.
    pub(super) fn policy_units(&self) -> u64 {
        1 + self.policies.len() as u64
    }

    /// The arguments that a queue goes by: those of its declaration, and those of policies.
    pub(super) fn under_policies(
        &self,
        name: &[u8],
        table: &Table,
        declared: QueueArguments,
    ) -> QueueArguments {
        match self.policies.of_queue(declared.kind, name, self.profile.policy_keys).settings() {
            Some(settings) => settings.complete(declared, table, self.profile),
            None => declared,
        }
    }

    /// Gives an exchange the alternate exchange of its policies, if its declaration has none;
    /// returns whether that is another one than before.
    pub(super) fn put_under_policies(policies: &Policies, exchange: &mut Exchange) -> bool {
        let name = exchange.declared.name.as_bytes();
        let of_policy = || policies.of_exchange(name).settings()?.alternate_exchange;
        let alternate = exchange.declared.alternate().or_else(of_policy);
        let is_other = alternate != exchange.alternate;
        exchange.alternate = alternate;
        is_other
    }

    /// The policies that apply to a queue.
    pub(super) fn policies_of(&self, id: QueueId) -> Option<Applied<'_>> {
        let queue = self.queues.get(id)?;
        let (kind, keys) = (queue.arguments.kind, self.profile.policy_keys);
        Some(self.policies.of_queue(kind, queue.name.as_bytes(), keys))
    }
}
