//! What in Redis lives only while it is renewed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::backend::Binding;
use crate::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// The queues that expire, all bindings, and all consumers, by their link.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    links: Mutex<HashMap<u64, Leased>>,
    /// Set when there is a lease that shows others that this process is there.
    lease: AtomicBool,
}

/// The declarations of a link, and its consumers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leased {
    pub(crate) queues: BTreeSet<String>,
    pub(crate) bindings: BTreeSet<Binding>,
    /// The number of its consumers, by queue.
    pub(crate) consumers: BTreeMap<String, u64>,
}

impl Leases {
    pub(crate) fn add_queue(&self, link: u64, queue: &str) {
        self.links.lock().entry(link).or_default().queues.insert(queue.to_owned());
    }

    /// Tells whether a link has declared a queue that expires.
    pub(crate) fn has_queue(&self, queue: &str) -> bool {
        self.links.lock().values().any(|leased| leased.queues.contains(queue))
    }

    pub(crate) fn add_binding(&self, link: u64, binding: &Binding) {
        self.links.lock().entry(link).or_default().bindings.insert(binding.clone());
    }

    pub(crate) fn add_consumer(&self, link: u64, queue: &str) {
        let mut links = self.links.lock();
        *links.entry(link).or_default().consumers.entry(queue.to_owned()).or_default() += 1;
    }

    /// A consumer of a link has ended; `false` when it is not known.
    pub(crate) fn remove_consumer(&self, link: u64, queue: &str) -> bool {
        let mut links = self.links.lock();
        let Some(leased) = links.get_mut(&link) else { return false };
        let Some(count) = leased.consumers.get_mut(queue) else { return false };
        *count -= 1;
        if *count == 0 {
            leased.consumers.remove(queue);
        }
        true
    }

    /// The queues that links consume from.
    pub(crate) fn consumed(&self) -> BTreeSet<String> {
        self.links.lock().values().flat_map(|leased| leased.consumers.keys().cloned()).collect()
    }

    pub(crate) fn has_lease(&self) -> bool {
        self.lease.load(Ordering::Relaxed)
    }

    pub(crate) fn take_lease(&self) {
        self.lease.store(true, Ordering::Relaxed);
    }

    pub(crate) fn remove_binding(&self, binding: &Binding) {
        self.links.lock().values_mut().for_each(|leased| _ = leased.bindings.remove(binding));
    }

    pub(crate) fn remove_queue(&self, queue: &str) {
        for leased in self.links.lock().values_mut() {
            leased.queues.remove(queue);
            leased.bindings.retain(|binding| binding.queue != queue);
        }
    }

    pub(crate) fn remove_exchange(&self, exchange: &str) {
        for leased in self.links.lock().values_mut() {
            leased.bindings.retain(|binding| binding.exchange != exchange);
        }
    }

    /// Forgets a link; returns what it has.
    pub(crate) fn remove_link(&self, link: u64) -> Leased {
        self.links.lock().remove(&link).unwrap_or_default()
    }

    /// All that is to be renewed.
    pub(crate) fn all(&self) -> Leased {
        let mut all = Leased::default();
        for leased in self.links.lock().values() {
            all.queues.extend(leased.queues.iter().cloned());
            all.bindings.extend(leased.bindings.iter().cloned());
        }
        all
    }
}
