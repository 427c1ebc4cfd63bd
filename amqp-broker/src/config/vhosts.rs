//! The virtual hosts and their settings, which may change while the broker runs.

use std::{collections::BTreeMap, fmt};

use crate::sync::RwLock;
#[cfg(feature = "management")]
use crate::sync::atomic::{AtomicU64, Ordering};

/// The names of the limits that a virtual host may have.
#[cfg(feature = "management")]
pub(crate) const VHOST_LIMITS: [&str; 2] = [MAX_CONNECTIONS, MAX_QUEUES];

pub(crate) const MAX_CONNECTIONS: &str = "max-connections";
#[cfg(feature = "management")]
pub(crate) const MAX_QUEUES: &str = "max-queues";

/// The settings of a virtual host.
#[derive(Clone, Debug, Default)]
pub(crate) struct VhostSettings {
    #[cfg(feature = "management")]
    pub(crate) description: String,
    #[cfg(feature = "management")]
    pub(crate) tags: Vec<String>,
    /// The limits by name; a negative one is none.
    pub(crate) limits: BTreeMap<String, i64>,
}

/// The virtual hosts by name.
#[derive(Default)]
pub(crate) struct Vhosts {
    all: RwLock<BTreeMap<String, VhostSettings>>,
    /// The number of changes of settings.
    #[cfg(feature = "management")]
    changes: AtomicU64,
}

impl Vhosts {
    /// Adds a name; returns whether it is new.
    pub(crate) fn add(&self, name: String) -> bool {
        let mut all = self.all.write();
        let is_new = !all.contains_key(&name);
        all.entry(name).or_default();
        is_new
    }

    /// Removes a name; returns whether it was there.
    #[cfg(feature = "management")]
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.all.write().remove(name).is_some()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.read().contains_key(name)
    }

    pub(crate) fn count(&self) -> usize {
        self.all.read().len()
    }

    /// All names, in order.
    pub(crate) fn all(&self) -> Vec<String> {
        self.all.read().keys().cloned().collect()
    }

    /// The most connections that a virtual host may have by its own limit.
    pub(crate) fn most_connections(&self, name: &str) -> usize {
        let all = self.all.read();
        let most = all.get(name).and_then(|settings| settings.limits.get(MAX_CONNECTIONS));
        most.and_then(|most| usize::try_from(*most).ok()).unwrap_or(usize::MAX)
    }

    #[cfg(feature = "management")]
    pub(crate) fn settings(&self, name: &str) -> Option<VhostSettings> {
        self.all.read().get(name).cloned()
    }

    /// Changes the settings of a virtual host, if it is there.
    #[cfg(feature = "management")]
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut VhostSettings)) {
        if let Some(settings) = self.all.write().get_mut(name) {
            change(settings);
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The number of changes of settings.
    #[cfg(feature = "management")]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

/// A clone is independent: later changes of one do not affect the other.
impl Clone for Vhosts {
    fn clone(&self) -> Self {
        Vhosts {
            all: RwLock::new(self.all.read().clone()),
            #[cfg(feature = "management")]
            changes: AtomicU64::default(),
        }
    }
}

impl fmt::Debug for Vhosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all.read().keys()).finish()
    }
}
