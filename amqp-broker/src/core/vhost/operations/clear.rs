//! Clearing a virtual host that is deleted.

use crate::core::{
    effects::sink::Sink,
    entities::ids::ExchangeId,
    vhost::Vhost,
    work::{Work, removal::Removal},
};

impl Vhost {
    /// Deletes queues, exchanges and policies, as many as the turn allows; returns whether nothing
    /// is left but what every virtual host has.
    pub(crate) fn clear(&mut self, now: u64, sink: &mut impl Sink) -> bool {
        let policies = self.policies.after(None).map(|policy| (policy.name.to_string(), policy.info()));
        let policies: Vec<_> = policies.map(|(name, info)| (name, info.is_of_operator)).collect();
        for (name, is_of_operator) in policies {
            self.clear_policy(now, name.as_bytes(), is_of_operator);
        }
        while !self.budget.is_over() {
            let queue = self.queue_names.values().next().copied();
            let exchange = self.declared_exchange();
            let removal = queue.map(Removal::queue).or(exchange.map(Removal::exchange));
            let Some(removal) = removal else { break };
            let mut work = Work::Remove(Box::new(removal));
            if !self.proceed(now, &mut work, sink).unwrap_or(true) {
                self.background.abandon(work);
            }
            self.budget.spend(1);
        }
        self.advance(now, sink);
        let is_empty = self.queue_names.is_empty() && self.declared_exchange().is_none();
        is_empty && !self.has_backlog()
    }

    /// An exchange that a client has declared.
    fn declared_exchange(&self) -> Option<ExchangeId> {
        let mut names = self.exchange_names.iter();
        names.find(|(name, _)| !name.as_bytes().starts_with(b"amq.")).map(|(_, id)| *id)
    }
}
