//! Restores a virtual host from its persistent state.

use std::collections::HashMap;

use super::Vhost;
use crate::{
    core::{
        content::returns::Returns,
        entities::{
            exchange::{Destination, Exchange},
            ids::{ExchangeId, QueueId},
            queue::{Queue, QueueDeclaration},
            ready::Entry,
        },
        journal::{
            kept::Kept,
            records::{DurableBinding, Record, Stored},
        },
        rabbitmq::{arguments::QueueArguments, policies::policy::Policy},
    },
    shown::shown,
};

/// A virtual host that is being restored. Policies come first. Exchanges and queues come before
/// bindings and messages, the messages of a queue in ascending order of their positions.
pub(crate) struct Restoration<'a> {
    vhost: &'a mut Vhost,
    exchanges: HashMap<u64, ExchangeId>,
    queues: HashMap<u64, QueueId>,
}

impl<'a> Restoration<'a> {
    pub(crate) fn new(vhost: &'a mut Vhost) -> Self {
        vhost.messages.journal.keep();
        let ids = vhost.exchange_names.values().copied();
        let exchanges = ids.filter_map(|id| Some((vhost.exchanges.get(id)?.serial, id))).collect();
        Restoration { vhost, exchanges, queues: HashMap::new() }
    }

    /// Restores one record; returns whether the entity that it belongs to exists.
    pub(crate) fn put(&mut self, record: Record) -> bool {
        match record {
            Record::ExchangeDeclared { serial, declared } => {
                let name = declared.name.clone();
                self.vhost.entities_weight += declared.weight();
                let id = self.vhost.exchanges.insert(Exchange::new(declared, serial));
                self.vhost.exchange_names.insert(name, id);
                self.exchanges.insert(serial, id);
                self.vhost.messages.journal.is_used(serial);
                true
            }
            Record::QueueDeclared { serial, name, auto_delete, arguments: table } => {
                let parsed = {
                    let name = name.to_text();
                    let queue = self.vhost.entity("queue", &name);
                    QueueArguments::parse(&table, queue, self.vhost.profile)
                };
                let Ok(arguments) = parsed else { return false };
                let arguments = self.vhost.under_policies(name.as_bytes(), &table, arguments);
                let declared = QueueDeclaration {
                    name: name.clone(),
                    durable: true,
                    auto_delete,
                    owner: None,
                    table,
                    arguments,
                    serial,
                };
                let queue = Queue::new(declared, 0);
                self.vhost.entities_weight += queue.weight();
                let id = self.vhost.queues.insert(queue);
                self.vhost.queue_names.insert(name, id);
                self.queues.insert(serial, id);
                self.vhost.messages.journal.is_used(serial);
                true
            }
            Record::PolicySet(policy) => {
                self.put_policy(*policy);
                true
            }
            Record::Bound(binding) => self.bind(&binding),
            Record::Stored(stored) | Record::Returned(stored) => self.store(stored),
            Record::Emptied { queue, end } => self.begin_stream(queue, end),
            Record::ExchangeDeleted { .. }
            | Record::QueueDeleted { .. }
            | Record::Unbound(_)
            | Record::PolicyCleared { .. }
            | Record::Gone { .. } => false,
        }
    }

    /// Restores a policy, unless the broker is configured with one of its name and kind. Its record
    /// stays in any case.
    fn put_policy(&mut self, policy: Policy) {
        if let Err(error) = policy.check(self.vhost.profile.policy_keys) {
            tracing::warn!(
                vhost = shown(&self.vhost.name),
                policy = shown(&policy.name),
                %error,
                "a policy is kept and has no effect in this version"
            );
        } else if !self.vhost.policies.has(&policy) {
            self.vhost.policies.set(policy);
        }
    }

    fn bind(&mut self, binding: &DurableBinding) -> bool {
        let Some(&source) = self.exchanges.get(&binding.source) else { return false };
        let destination = match binding.to_exchange {
            true => self.exchanges.get(&binding.destination).copied().map(Destination::Exchange),
            false => self.queues.get(&binding.destination).copied().map(Destination::Queue),
        };
        let Some(destination) = destination else { return false };
        self.vhost.bind_found(source, destination, &binding.key, &binding.arguments).is_ok()
    }

    fn store(&mut self, stored: Stored) -> bool {
        let queue = self.queues.get(&stored.queue).and_then(|id| self.vhost.queues.get_mut(*id));
        let Some(queue) = queue else { return false };
        let Stored { position, expires_at, priority, redelivered, returns, message, .. } = stored;
        self.vhost.messages.entered(&message);
        queue.restore(Entry {
            message,
            position,
            expires_at,
            // It was stored as a level, which another version may not have.
            priority: priority.min(queue.ready.level(u8::MAX)),
            redelivered,
            // Only what counts towards the limit is kept.
            returns: match queue.arguments.only_failures_count && returns > 0 {
                true => Returns::failures(returns),
                false => Returns::of(returns),
            },
            kept: Kept::YES,
        });
        true
    }

    fn begin_stream(&mut self, serial: u64, end: u64) -> bool {
        let queue = self.queues.get(&serial).and_then(|id| self.vhost.queues.get_mut(*id));
        let Some(log) = queue.and_then(|queue| queue.stream.as_mut()) else { return false };
        log.begin_at(end);
        true
    }

    /// Ends the restoration, and sets the timers.
    pub(crate) fn finish(self) {
        for id in self.vhost.exchange_names.values() {
            if let Some(exchange) = self.vhost.exchanges.get_mut(*id) {
                Vhost::put_under_policies(&self.vhost.policies, exchange);
            }
        }
        for id in self.queues.into_values() {
            let queue = self.vhost.queues.get(id);
            if let Some(timeout) = queue.and_then(|queue| queue.arguments.consumer_timeout) {
                self.vhost.expect_timeout(0, timeout);
            }
            self.vhost.arm(id);
        }
    }
}

impl Vhost {
    /// The messages whose record changes at an orderly end: those that were delivered, and are
    /// redelivered later.
    pub(crate) fn redelivered(&self) -> Vec<Stored> {
        let queues = self.queue_names.values().filter_map(|id| self.queues.get(*id));
        let kept = queues.filter(|queue| queue.serial != 0);
        kept.flat_map(|queue| {
            let entries = queue.ready.iter().filter(|entry| entry.kept.is_kept() && entry.redelivered);
            entries.map(|entry| entry.stored(queue.serial))
        })
        .collect()
    }
}

#[cfg(test)]
impl Vhost {
    /// The offset of a stream's next message.
    pub(crate) fn next_offset(&self, queue: &amqp_codec::ShortString) -> Option<u64> {
        let id = self.queue_names.get(queue)?;
        self.queues.get(*id)?.stream.as_ref().map(|log| log.end())
    }
}
