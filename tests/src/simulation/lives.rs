//! The lives of a broker, one after the other, on one disk.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp_broker::{Broker, SimulatedDisk};
use tokio::time::sleep;

use super::{network::Network, transcript::Log};

/// The broker, in whichever life it is. Clones are handles of the same.
#[derive(Clone)]
pub(super) struct Lives {
    broker: Arc<Mutex<Broker>>,
    /// Without a disk there is one life only.
    disk: Option<SimulatedDisk>,
    heartbeat: Duration,
    deaths: Arc<AtomicU64>,
    network: Network,
    log: Log,
}

impl Lives {
    /// Begins the first life.
    pub(super) fn begin(
        disk: Option<SimulatedDisk>,
        heartbeat: Duration,
        network: Network,
        log: Log,
    ) -> Self {
        let broker = build(disk.as_ref(), heartbeat);
        network.lead_to(Some(broker.clone()));
        let (broker, deaths) = (Arc::new(Mutex::new(broker)), Arc::default());
        Lives { broker, disk, heartbeat, deaths, network, log }
    }

    /// The broker of the present or the last life.
    pub(super) fn broker(&self) -> Broker {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how often it has ended, in whatever way.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// Ends the broker as a power failure does: its links break, and it writes nothing more.
    pub(super) fn die(&self) {
        let Some(disk) = &self.disk else { return };
        self.deaths.fetch_add(1, Ordering::Relaxed);
        self.network.lead_to(None);
        self.network.cut_all();
        disk.crash();
        // The rest of it ends without anybody noticing.
        let dead = self.broker();
        tokio::spawn(async move { dead.shutdown().await });
    }

    /// Ends the broker in an orderly way.
    pub(super) async fn end(&self) {
        if self.disk.is_some() {
            self.deaths.fetch_add(1, Ordering::Relaxed);
            self.network.lead_to(None);
            self.broker().shutdown().await;
        }
    }

    /// Begins the next life after this time.
    pub(super) async fn rise_after(&self, time: Duration) {
        sleep(time).await;
        if self.disk.is_some() {
            let broker = build(self.disk.as_ref(), self.heartbeat);
            self.log.add(format_args!("the broker begins again with {} queues", broker.queues("/").len()));
            *self.broker.lock().unwrap_or_else(PoisonError::into_inner) = broker.clone();
            self.network.lead_to(Some(broker));
        }
    }
}

fn build(disk: Option<&SimulatedDisk>, heartbeat: Duration) -> Broker {
    // The slowest links delay each part of a handshake by seconds.
    let builder = Broker::builder().heartbeat(heartbeat).login_timeout(6 * heartbeat);
    match disk {
        Some(disk) => builder.build_on(disk),
        None => builder.build(),
    }
}
