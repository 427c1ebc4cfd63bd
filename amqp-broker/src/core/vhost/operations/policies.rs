//! Policies are set and cleared. All queues and exchanges are looked at after each change, in
//! turns.

use crate::core::{
    entities::ids::QueueId,
    journal::records::Record,
    rabbitmq::{
        arguments::QueueArguments,
        policies::{invalid_policy::InvalidPolicy, policy::Policy},
    },
    vhost::Vhost,
    work::{Work, applying::PolicyCursor},
};

/// The work of reading the arguments of a queue, besides their length.
const PARSE_UNITS: u64 = 8;

impl Vhost {
    /// Puts a policy there before anything else is. It comes before one of its name and kind that
    /// is restored, and is not recorded.
    ///
    /// # Errors
    /// The version that this virtual host follows has no such policies.
    pub(crate) fn configure_policy(&mut self, policy: Policy) -> Result<(), InvalidPolicy> {
        policy.check(self.profile.policy_keys)?;
        self.policies.set(policy);
        self.apply_policies(0);
        Ok(())
    }

    /// Sets a policy, in place of one of its name and kind.
    ///
    /// # Errors
    /// The version that this virtual host follows has no such policies, or there is no memory for
    /// it.
    pub(crate) fn set_policy(&mut self, now: u64, policy: Policy) -> Result<(), InvalidPolicy> {
        policy.check(self.profile.policy_keys)?;
        if self.check_memory(policy.weight()).is_err() {
            return Err(InvalidPolicy::NoMemory { vhost: self.name.clone(), limit: self.limits.memory });
        }
        if self.messages.journal.is_kept() {
            self.messages.journal.record(Record::PolicySet(Box::new(policy.clone())));
        }
        self.policies.set(policy);
        self.apply_policies(now);
        Ok(())
    }

    /// Removes a policy; returns whether there was one.
    pub(crate) fn clear_policy(&mut self, now: u64, name: &[u8], is_of_operator: bool) -> bool {
        let Some(name) = self.policies.clear(name, is_of_operator) else { return false };
        if self.messages.journal.is_kept() {
            self.messages.journal.record(Record::PolicyCleared { name, is_of_operator });
        }
        self.apply_policies(now);
        true
    }

    fn apply_policies(&mut self, now: u64) {
        let mut cursor = PolicyCursor { version: self.policies.version, ..PolicyCursor::default() };
        if !self.proceed_policies(now, &mut cursor) {
            self.background.abandon(Work::ApplyPolicies(cursor));
        }
    }

    /// Applies the policies to queues and exchanges from a place on, as far as the turn allows;
    /// returns whether all of them are done.
    pub(super) fn proceed_policies(&mut self, now: u64, cursor: &mut PolicyCursor) -> bool {
        // A later change begins anew.
        if cursor.version != self.policies.version {
            return true;
        }
        let units = self.policy_units();
        loop {
            let next = self.exchanges.iter_from(cursor.exchange).next().map(|(id, _)| id);
            let Some(id) = next else { break };
            cursor.exchange = id.index() + 1;
            self.budget.spend(units);
            if let Some(exchange) = self.exchanges.get_mut(id)
                && Self::put_under_policies(&self.policies, exchange)
            {
                self.routes_version += 1;
            }
            if self.budget.is_over() {
                return false;
            }
        }
        loop {
            let next = self.queues.iter_from(cursor.queue).next().map(|(id, _)| id);
            let Some(id) = next else { return true };
            cursor.queue = id.index() + 1;
            self.budget.spend(units);
            self.apply_to_queue(now, id);
            if self.budget.is_over() {
                return false;
            }
        }
    }

    fn apply_to_queue(&mut self, now: u64, id: QueueId) {
        let Some(queue) = self.queues.get(id) else { return };
        // Each of its arguments is searched for.
        self.budget.spend(PARSE_UNITS + queue.table.as_encoded().len() as u64 / 8);
        let parsed = {
            let name = queue.name.to_text();
            QueueArguments::parse(&queue.table, self.entity("queue", &name), self.profile)
        };
        let Ok(declared) = parsed else { return };
        let arguments = self.under_policies(queue.name.as_bytes(), &queue.table, declared);
        let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.arguments != arguments) else {
            return;
        };
        // The time without use counts from when it has a limit.
        if queue.arguments.expires != arguments.expires {
            queue.last_used = now;
        }
        queue.put_arguments(arguments, &self.messages.journal.groups);
        if let Some(timeout) = queue.arguments.consumer_timeout {
            self.expect_timeout(now, timeout);
            // There may be deliveries that had none, also where a search has passed already.
            let due = now.saturating_add(timeout);
            self.acks_due = self.acks_due.min(due);
            if let Some(checked) = &mut self.acks_checked {
                checked.due = checked.due.min(due);
            }
        }
        // What exceeds a limit now is dropped when the queue has its turn.
        self.wake(id);
    }
}
