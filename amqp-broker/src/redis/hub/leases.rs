//! What in Redis lives only while it is renewed.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::backend::Binding;

/// The queues that expire, and all bindings, by the link that declared them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    links: Mutex<HashMap<u64, Leased>>,
}

/// What a link has declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leased {
    pub(crate) queues: BTreeSet<String>,
    pub(crate) bindings: BTreeSet<Binding>,
}

impl Leases {
    pub(crate) fn add_queue(&self, link: u64, queue: &str) {
        self.links.lock().entry(link).or_default().queues.insert(queue.to_owned());
    }

    pub(crate) fn add_binding(&self, link: u64, binding: &Binding) {
        self.links.lock().entry(link).or_default().bindings.insert(binding.clone());
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

    pub(crate) fn remove_link(&self, link: u64) {
        self.links.lock().remove(&link);
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
