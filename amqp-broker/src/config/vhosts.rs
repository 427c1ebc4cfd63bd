//! The names of the virtual hosts, which may change while the broker runs.

use std::{collections::BTreeSet, fmt};

use crate::sync::RwLock;

/// The names of the virtual hosts.
#[derive(Default)]
pub(crate) struct Vhosts(RwLock<BTreeSet<String>>);

impl Vhosts {
    /// Adds a name; returns whether it is new.
    pub(crate) fn add(&self, name: String) -> bool {
        self.0.write().insert(name)
    }

    /// Removes a name; returns whether it was there.
    #[cfg(feature = "management")]
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.0.write().remove(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.read().contains(name)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.read().len()
    }

    /// All names, in order.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.read().iter().cloned().collect()
    }
}

/// A clone is independent: later changes of one do not affect the other.
impl Clone for Vhosts {
    fn clone(&self) -> Self {
        Vhosts(RwLock::new(self.0.read().clone()))
    }
}

impl fmt::Debug for Vhosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.read().fmt(f)
    }
}
