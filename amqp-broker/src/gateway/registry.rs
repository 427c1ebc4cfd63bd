//! Which queues belong to a connection, and who consumes: what a backend does not know, for all
//! connections of one virtual host.

use std::collections::HashMap;

use crate::{backend::QueueDeclaration, core::rabbitmq::refusal::Refusal, sync::Mutex};

/// The queues that connections of this virtual host have claimed or consume from.
#[derive(Debug)]
pub(crate) struct Registry {
    vhost: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: u64,
    queues: HashMap<String, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The connection that has it to itself.
    owner: Option<u64>,
    is_auto_delete: bool,
    consumers: u32,
    /// Set when its one consumer has it to itself.
    has_exclusive_consumer: bool,
}

/// What becomes of a queue that a consumer has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It stays: it has other consumers, or is not an auto-delete queue.
    Stays,
    /// It is an auto-delete queue without consumers here; there may be others elsewhere.
    ByAllHere,
    /// It is an auto-delete queue without consumers, and nobody else may use it.
    ByAll,
}

impl Registry {
    pub(crate) fn new(vhost: String) -> Self {
        Registry { vhost, state: Mutex::default() }
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.vhost
    }

    /// A number for a new connection.
    pub(crate) fn enter(&self) -> u64 {
        let mut state = self.state.lock();
        state.connections += 1;
        state.connections
    }

    /// Checks that a connection may use a queue.
    ///
    /// # Errors
    /// When it belongs to another connection (405).
    pub(crate) fn check(&self, by: u64, queue: &str) -> Result<(), Refusal> {
        let state = self.state.lock();
        let owner = state.queues.get(queue).and_then(|entry| entry.owner);
        match owner {
            Some(owner) if owner != by => Err(self.locked(queue)),
            _ => Ok(()),
        }
    }

    /// Notes a declaration that the backend has accepted.
    pub(crate) fn declared(&self, by: u64, queue: &QueueDeclaration) {
        let mut state = self.state.lock();
        let entry = state.queues.entry(queue.name.clone()).or_default();
        if queue.exclusive {
            entry.owner = Some(by);
        }
        entry.is_auto_delete = queue.auto_delete;
        state.tidy(&queue.name);
    }

    /// Notes a consumer.
    ///
    /// # Errors
    /// When another consumer has the queue to itself, or this one wants to and there is another
    /// (403).
    pub(crate) fn consume(&self, queue: &str, exclusive: bool) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let entry = state.queues.entry(queue.to_owned()).or_default();
        if entry.has_exclusive_consumer || exclusive && entry.consumers > 0 {
            return Err(Refusal::ExclusiveUse { name: queue.to_owned(), vhost: self.vhost.clone() });
        }
        entry.consumers += 1;
        entry.has_exclusive_consumer = exclusive;
        Ok(())
    }

    /// Notes that a consumer has left; tells what becomes of the queue.
    pub(crate) fn cancel(&self, queue: &str) -> Left {
        let mut state = self.state.lock();
        let Some(entry) = state.queues.get_mut(queue) else { return Left::Stays };
        entry.consumers = entry.consumers.saturating_sub(1);
        entry.has_exclusive_consumer = false;
        let left = match (entry.is_auto_delete && entry.consumers == 0, entry.owner) {
            (false, _) => Left::Stays,
            (true, None) => Left::ByAllHere,
            (true, Some(_)) => Left::ByAll,
        };
        state.tidy(queue);
        left
    }

    /// How many consumers a queue has here.
    pub(crate) fn consumers(&self, queue: &str) -> u32 {
        self.state.lock().queues.get(queue).map_or(0, |entry| entry.consumers)
    }

    /// Forgets a queue that is deleted.
    pub(crate) fn forget(&self, queue: &str) {
        self.state.lock().queues.remove(queue);
    }

    /// The queues that belong to a connection.
    pub(crate) fn owned(&self, by: u64) -> Vec<String> {
        let state = self.state.lock();
        let owned = state.queues.iter().filter(|(_, entry)| entry.owner == Some(by));
        owned.map(|(name, _)| name.clone()).collect()
    }

    fn locked(&self, queue: &str) -> Refusal {
        Refusal::Locked { name: queue.to_owned(), vhost: self.vhost.clone() }
    }
}

impl State {
    /// Forgets a queue of which nothing is to be known.
    fn tidy(&mut self, queue: &str) {
        let is_plain = |entry: &Entry| entry.owner.is_none() && !entry.is_auto_delete && entry.consumers == 0;
        if self.queues.get(queue).is_some_and(is_plain) {
            self.queues.remove(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::Table;

    use super::*;

    fn queue(exclusive: bool, auto_delete: bool) -> QueueDeclaration {
        let (name, arguments) = ("q".to_owned(), Table::new());
        QueueDeclaration { name, durable: false, exclusive, auto_delete, arguments }
    }

    #[test]
    fn an_exclusive_queue_belongs_to_its_connection() {
        let registry = Registry::new("/".to_owned());
        let (one, other) = (registry.enter(), registry.enter());
        registry.declared(one, &queue(true, false));
        assert!(registry.check(one, "q").is_ok());
        assert!(matches!(registry.check(other, "q"), Err(Refusal::Locked { .. })));
        assert_eq!(registry.owned(one), ["q"]);
        registry.forget("q");
        assert!(registry.check(other, "q").is_ok());
    }

    #[test]
    fn the_last_consumer_of_an_auto_delete_queue_is_told() {
        let registry = Registry::new("/".to_owned());
        registry.declared(1, &queue(false, true));
        registry.consume("q", false).unwrap();
        registry.consume("q", false).unwrap();
        assert_eq!(registry.cancel("q"), Left::Stays);
        assert_eq!(registry.cancel("q"), Left::ByAllHere);
        registry.declared(1, &queue(true, true));
        registry.consume("q", false).unwrap();
        assert_eq!(registry.cancel("q"), Left::ByAll);
    }

    #[test]
    fn an_exclusive_consumer_is_alone() {
        let registry = Registry::new("/".to_owned());
        registry.consume("q", true).unwrap();
        assert!(registry.consume("q", false).is_err());
        assert_eq!(registry.cancel("q"), Left::Stays);
        registry.consume("q", false).unwrap();
        assert!(registry.consume("q", true).is_err());
    }

    #[test]
    fn a_plain_queue_is_not_kept() {
        let registry = Registry::new("/".to_owned());
        registry.declared(1, &queue(false, false));
        registry.consume("q", false).unwrap();
        registry.cancel("q");
        assert!(registry.state.lock().queues.is_empty());
    }
}
