//! The entities that a session has declared, and what their removal removes with them.

use amqp_codec::{
    ShortString, Table,
    method::{exchange, queue},
};

/// What a queue can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueKind {
    Classic,
    Quorum,
    Stream,
}

#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) declared: queue::Declare,
    pub(crate) kind: QueueKind,
    pub(crate) single_active: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) declared: exchange::Declare,
    /// Whether it is there before anybody declares it, and may not be deleted.
    pub(crate) is_system: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Queue(ShortString),
    Exchange(ShortString),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) source: ShortString,
    pub(crate) destination: Destination,
    pub(crate) key: ShortString,
    pub(crate) arguments: Table,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    pub(crate) queues: Vec<Queue>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) bindings: Vec<Binding>,
}

impl Topology {
    /// The exchanges that every virtual host has.
    pub(crate) fn new() -> Self {
        let kinds = [
            ("amq.direct", "direct"),
            ("amq.fanout", "fanout"),
            ("amq.topic", "topic"),
            ("amq.headers", "headers"),
        ];
        let system = |(name, kind): (&'static str, &'static str)| Exchange {
            declared: exchange::Declare {
                exchange: ShortString::from_static(name),
                kind: ShortString::from_static(kind),
                durable: true,
                ..Default::default()
            },
            is_system: true,
        };
        Topology { exchanges: kinds.map(system).into(), ..Topology::default() }
    }

    pub(crate) fn queue(&self, name: &ShortString) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.declared.queue == *name)
    }

    pub(crate) fn exchange(&self, name: &ShortString) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.declared.exchange == *name)
    }

    pub(crate) fn is_used(&self, exchange: &ShortString) -> bool {
        self.bindings.iter().any(|binding| binding.source == *exchange)
    }

    /// Removes a queue and its bindings. Returns the names of all that is gone.
    pub(crate) fn remove_queue(&mut self, name: &ShortString) -> Vec<ShortString> {
        self.queues.retain(|queue| queue.declared.queue != *name);
        let mut gone = vec![name.clone()];
        self.remove_bindings(
            |binding| matches!(&binding.destination, Destination::Queue(queue) if queue == name),
            &mut gone,
        );
        gone
    }

    /// Removes an exchange and its bindings. Returns the names of all that is gone.
    pub(crate) fn remove_exchange(&mut self, name: &ShortString) -> Vec<ShortString> {
        let mut gone = Vec::new();
        self.take_exchange(name.clone(), &mut gone);
        gone
    }

    /// Removes one binding. Returns the names of all that is gone.
    pub(crate) fn unbind(&mut self, removed: &Binding) -> Vec<ShortString> {
        let mut gone = Vec::new();
        self.remove_bindings(|binding| binding == removed, &mut gone);
        gone
    }

    fn take_exchange(&mut self, name: ShortString, gone: &mut Vec<ShortString>) {
        self.exchanges.retain(|exchange| exchange.declared.exchange != name);
        gone.push(name);
        let mut at = gone.len() - 1;
        // An exchange whose last binding goes may go itself, and so on.
        while let Some(name) = gone.get(at).cloned() {
            self.bindings.retain(|binding| binding.source != name);
            let is_to =
                |binding: &Binding| matches!(&binding.destination, Destination::Exchange(to) if *to == name);
            self.remove_bindings(is_to, gone);
            at += 1;
        }
    }

    fn remove_bindings(&mut self, is_removed: impl Fn(&Binding) -> bool, gone: &mut Vec<ShortString>) {
        let mut sources = Vec::new();
        self.bindings.retain(|binding| {
            let removed = is_removed(binding);
            sources.extend(removed.then(|| binding.source.clone()));
            !removed
        });
        for source in sources {
            let auto_delete = self.exchange(&source).is_some_and(|exchange| exchange.declared.auto_delete);
            if auto_delete && !self.is_used(&source) && !gone.contains(&source) {
                gone.extend(self.remove_exchange(&source));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pools::text;

    #[test]
    fn an_exchange_without_bindings_takes_with_it_what_was_bound_to_it_alone() {
        let mut topology = Topology::new();
        for name in ["first", "second"] {
            let declared =
                exchange::Declare { exchange: text(name), auto_delete: true, ..Default::default() };
            topology.exchanges.push(Exchange { declared, is_system: false });
        }
        let bind = |source: &str, destination| Binding {
            source: text(source),
            destination,
            key: ShortString::EMPTY,
            arguments: Table::new(),
        };
        topology.bindings.push(bind("first", Destination::Exchange(text("second"))));
        topology.bindings.push(bind("second", Destination::Queue(text("jobs"))));
        assert_eq!(topology.remove_queue(&text("jobs")), ["jobs", "second", "first"].map(text));
        assert_eq!((topology.exchanges.len(), topology.bindings.len()), (4, 0));
    }
}
