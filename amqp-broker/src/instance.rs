//! A broker that runs: what its connections and listeners share.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use crate::{config::Config, host::Host};

/// What the connections and listeners of a broker share.
pub(crate) struct Instance {
    pub(crate) config: Config,
    hosts: HashMap<String, Arc<Host>>,
    /// Whether the broker is ending. Each task holds a receiver as long as it runs.
    ending: watch::Sender<bool>,
}

impl Instance {
    pub(crate) fn new(config: Config) -> Self {
        let hosts = config.vhosts().map(|name| (name.clone(), Arc::new(Host::new(name)))).collect();
        Instance { config, hosts, ending: watch::Sender::new(false) }
    }

    pub(crate) fn host(&self, vhost: &str) -> Option<Arc<Host>> {
        self.hosts.get(vhost).cloned()
    }

    /// To be told of the end, and to be waited for.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Tells all tasks to end, and waits until they have.
    pub(crate) async fn end(&self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
    }
}
