//! Global parameters, which have no meaning to the broker: whoever sets them finds them again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// The global parameters by name.
#[derive(Default)]
pub(crate) struct GlobalParameters {
    all: Mutex<BTreeMap<String, Value>>,
    changes: AtomicU64,
}

impl GlobalParameters {
    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<String, Value> {
        self.all.lock().clone()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.all.lock().get(name).cloned()
    }

    /// Sets a parameter; returns whether it is new.
    pub(crate) fn put(&self, name: String, value: Value) -> bool {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.all.lock().insert(name, value).is_none()
    }

    /// Removes a parameter; returns whether it was there.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.all.lock().remove(name).is_some()
    }

    /// The number of changes.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}
