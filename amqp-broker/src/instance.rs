//! A broker that runs: what its connections and listeners share.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use crate::{
    clients::Clients, config::Config, core::vhost::Vhost, fault_plan::FaultPlan, host::Host,
    session::shared::Shared,
};

/// What the connections and listeners of a broker share.
pub(crate) struct Instance {
    pub(crate) config: Config,
    pub(crate) clients: Arc<Clients>,
    pub(crate) faults: FaultPlan,
    hosts: HashMap<String, Arc<Host>>,
    /// Whether the broker is ending. Each task holds a receiver as long as it runs.
    ending: watch::Sender<bool>,
}

impl Instance {
    pub(crate) fn new(config: Config) -> Self {
        let faults = FaultPlan::default();
        let host = |name: &str| {
            let vhost = Vhost::new(name, config.limits);
            Arc::new(Host::new(Shared::new(vhost, Arc::clone(&faults.disturbance), config.memory())))
        };
        let hosts = config.vhosts().map(|name| (name.clone(), host(name))).collect();
        Instance { config, clients: Arc::default(), faults, hosts, ending: watch::Sender::new(false) }
    }

    pub(crate) fn host(&self, vhost: &str) -> Option<Arc<Host>> {
        self.hosts.get(vhost).cloned()
    }

    /// All virtual hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.hosts.values()
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
