//! The model of the topology: what the broker must have, as far as the clients know.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use amqp_broker::Broker;

use super::{
    scenario::{FANOUT, QUEUES, SHARED_QUEUES, TOPIC, TOPIC_BINDINGS},
    transcript::Log,
};

/// A client's knowledge of an entity or a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Present {
        durable: bool,
    },
    Absent,
    /// A call on it failed, or somebody else deleted it.
    Unknown,
}

/// The name of an entity, or of a binding of a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Queue(String),
    Exchange(String),
    Binding { exchange: String, queue: String, key: String },
}

/// The model. Clones are handles of the same.
#[derive(Clone, Default)]
pub(super) struct Topology {
    names: Arc<Mutex<BTreeMap<Name, Known>>>,
    thefts: Arc<AtomicU64>,
}

impl Topology {
    /// The topology that all clients share.
    pub(super) fn shared() -> Self {
        let topology = Topology::default();
        let durable = Known::Present { durable: true };
        for queue in SHARED_QUEUES {
            topology.set(Name::Queue(queue.to_owned()), durable);
        }
        for exchange in [FANOUT, TOPIC] {
            topology.set(Name::Exchange(exchange.to_owned()), durable);
        }
        for queue in QUEUES {
            topology.set(Name::binding(FANOUT, queue, ""), durable);
        }
        for (pattern, queue) in TOPIC_BINDINGS {
            topology.set(Name::binding(TOPIC, queue, pattern), durable);
        }
        topology
    }

    pub(super) fn set(&self, name: Name, known: Known) {
        self.with(|names| names.insert(name, known));
    }

    /// Returns how often somebody else than its owner has deleted something.
    pub(super) fn thefts(&self) -> u64 {
        self.thefts.load(Ordering::Relaxed)
    }

    /// Notes that somebody else than its owner deletes a queue: what its owner is told about it
    /// meanwhile may be older.
    pub(super) fn steal(&self, name: &Name) {
        self.thefts.fetch_add(1, Ordering::Relaxed);
        self.remove(name, Known::Unknown);
    }

    /// Notes that the broker ends: what is not durable goes with it, but clients may declare it
    /// again.
    pub(super) fn forget_transient(&self) {
        self.thefts.fetch_add(1, Ordering::Relaxed);
        let all: Vec<_> =
            self.with(|names| names.iter().map(|(name, known)| (name.clone(), *known)).collect());
        for (name, known) in all {
            if known == (Known::Present { durable: false }) {
                self.remove(&name, Known::Unknown);
            }
        }
    }

    /// Notes what a call has done to an entity, unless something was stolen since `thefts`.
    pub(super) fn learn(&self, name: Name, known: Known, thefts: u64) {
        let known = if self.thefts() == thefts { known } else { Known::Unknown };
        match known {
            Known::Present { .. } => self.set(name, known),
            Known::Absent | Known::Unknown => self.remove(&name, known),
        }
    }

    pub(super) fn of(&self, name: &Name) -> Known {
        self.with(|names| names.get(name).copied().unwrap_or(Known::Absent))
    }

    /// Notes what becomes of a queue or an exchange, and of its bindings with it.
    pub(super) fn remove(&self, name: &Name, known: Known) {
        self.with(|names| {
            let bindings = names.iter_mut().filter(|(binding, _)| binding.belongs_to(name));
            bindings.filter(|(_, state)| **state != Known::Absent).for_each(|(_, state)| *state = known);
            names.insert(name.clone(), known);
        });
    }

    /// Compares the broker with the model.
    pub(super) fn check(&self, broker: &Broker, log: &Log) {
        let there = there(broker);
        self.with(|names| {
            for (name, known) in names.iter() {
                let found = there.get(name).copied();
                let is_right = match (known, found) {
                    (Known::Unknown, _) | (Known::Absent, None) => true,
                    (Known::Present { .. }, Some(_)) if matches!(name, Name::Binding { .. }) => true,
                    (Known::Present { durable }, Some(found)) => *durable == found,
                    (Known::Present { .. }, None) | (Known::Absent, Some(_)) => false,
                };
                if !is_right {
                    log.violation(format!("{name:?} is {found:?} in the broker, and should be {known:?}"));
                }
            }
            for name in there.keys().filter(|name| !names.contains_key(name) && !name.is_of_rpc()) {
                log.violation(format!("{name:?} is in the broker, and nobody made it"));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Name, Known>) -> T) -> T {
        work(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Name {
    pub(super) fn binding(exchange: &str, queue: &str, key: &str) -> Self {
        Name::Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), key: key.to_owned() }
    }

    /// Tells whether RPC declares it.
    fn is_of_rpc(&self) -> bool {
        let is_its =
            |name: &str| name.starts_with("rpc") || name.starts_with("reply_") || name == "openstack";
        match self {
            Name::Queue(name) | Name::Exchange(name) => is_its(name),
            Name::Binding { exchange, queue, .. } => is_its(exchange) || is_its(queue),
        }
    }

    fn belongs_to(&self, entity: &Name) -> bool {
        match (self, entity) {
            (Name::Binding { queue, .. }, Name::Queue(name)) => queue == name,
            (Name::Binding { exchange, .. }, Name::Exchange(name)) => exchange == name,
            _ => false,
        }
    }
}

/// Returns what the broker has, without what every broker has, and whether it is durable.
fn there(broker: &Broker) -> BTreeMap<Name, bool> {
    let queues = broker.queues("/").into_iter().map(|queue| (Name::Queue(queue.name), queue.durable));
    let exchanges = broker.exchanges("/").into_iter().filter(|exchange| !exchange.name.starts_with("amq."));
    let exchanges = exchanges.map(|exchange| (Name::Exchange(exchange.name), exchange.durable));
    let bindings = broker.bindings("/").into_iter();
    let bindings = bindings
        .map(|binding| (Name::binding(&binding.source, &binding.destination, &binding.routing_key), true));
    queues.chain(exchanges).chain(bindings).collect()
}
