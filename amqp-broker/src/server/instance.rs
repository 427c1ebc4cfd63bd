//! A running broker: what its connections and listeners share.

use std::{collections::HashMap, sync::Arc};

use amqp_codec::ReplyCode;
use tokio::{sync::watch, time::Instant};

use super::{
    clients::{Client, Clients, Login},
    host::{Host, since_1970},
};
use crate::{
    config::Config,
    core::{rabbitmq::refusal::reply_text, vhost::Vhost},
    failure::Failure,
    faults::plan::FaultPlan,
    gateway::Gateway,
    session::{command::Command, shared::Shared},
    shown::shown,
    sockets::Sockets,
    store::Disk,
    sync::RwLock,
};
#[cfg(feature = "durable")]
use crate::{
    core::rabbitmq::refusal::Refusal,
    store::{DataError, DiskReport, Folder, Restored, Room, WatchReport, Writer},
};
#[cfg(feature = "durable")]
use amqp_codec::Report;
#[cfg(feature = "durable")]
use std::{path::Path, time::Duration};

/// Why a virtual host is not created or deleted.
#[cfg(feature = "management")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidVhost {
    /// Its name is empty or too long for clients.
    #[error("a virtual host's name has from 1 to 255 bytes, and not {length}")]
    Name {
        /// The length of the name in bytes.
        length: usize,
    },
    /// Its other side is a backend.
    #[error("the other side of virtual host '{name}' is a backend, which only the configuration can change")]
    HasBackend {
        /// The name of the virtual host.
        name: String,
    },
    /// It cannot be written to the broker's folder, or removed from it.
    #[error("the virtual host '{name}' in the folder: {why}")]
    Folder {
        /// The name of the virtual host.
        name: String,
        /// The cause.
        why: String,
    },
}

/// The virtual hosts whose other side is a backend, by name.
pub(crate) type Gateways = HashMap<String, Arc<dyn Gateway>>;

/// The virtual hosts that are the broker's own, by name.
type Hosts = RwLock<HashMap<String, Arc<Host>>>;

/// What all connections and listeners of a broker share.
pub(crate) struct Instance {
    pub(crate) config: Config,
    pub(crate) clients: Arc<Clients>,
    pub(crate) faults: FaultPlan,
    hosts: Arc<Hosts>,
    gateways: Gateways,
    /// Set when the broker ends. Each task holds a receiver as long as it runs.
    ending: watch::Sender<bool>,
    failure: Arc<watch::Sender<Option<Failure>>>,
    pub(crate) sockets: Arc<Sockets>,
    /// Held while a virtual host is created or deleted.
    #[cfg(feature = "management")]
    changing: tokio::sync::Mutex<()>,
    /// The folder, if it has one.
    #[cfg(all(feature = "durable", feature = "management"))]
    store: crate::sync::Mutex<Option<Arc<Folder>>>,
    /// Where it listens.
    #[cfg(feature = "management")]
    pub(crate) listening: crate::sockets::listening::Listening,
    #[cfg(feature = "management")]
    pub(crate) parameters: crate::config::parameters::GlobalParameters,
    /// The number of changes by administrators that the folder has; held while it is written.
    #[cfg(all(feature = "durable", feature = "management"))]
    pub(crate) kept_changes: crate::sync::Mutex<u64>,
    /// When it began.
    #[cfg(feature = "management")]
    pub(crate) began: Instant,
}

impl Instance {
    /// Creates a broker that keeps everything in memory.
    pub(crate) fn new(config: Config, gateways: Gateways) -> Self {
        let (faults, mut hosts) = (FaultPlan::default(), HashMap::new());
        for name in config.vhosts.all().into_iter().filter(|name| !gateways.contains_key(name)) {
            let vhost = empty_vhost(&name, &config);
            hosts.insert(name, Arc::new(host(vhost, None, Instant::now(), &config, &faults)));
        }
        Instance {
            config,
            clients: Arc::default(),
            faults,
            hosts: Arc::new(RwLock::new(hosts)),
            gateways,
            ending: watch::Sender::new(false),
            failure: Arc::default(),
            sockets: Sockets::beside(0),
            #[cfg(feature = "management")]
            changing: tokio::sync::Mutex::new(()),
            #[cfg(all(feature = "durable", feature = "management"))]
            store: crate::sync::Mutex::new(None),
            #[cfg(feature = "management")]
            listening: Default::default(),
            #[cfg(feature = "management")]
            parameters: Default::default(),
            #[cfg(all(feature = "durable", feature = "management"))]
            kept_changes: Default::default(),
            #[cfg(feature = "management")]
            began: Instant::now(),
        }
    }

    /// Creates a broker with persistent state in a folder, and restores what is there.
    #[cfg(feature = "durable")]
    pub(crate) fn restored(
        config: Config,
        gateways: Gateways,
        (folder, repairs): (&Path, bool),
    ) -> Result<Self, DataError> {
        let started = std::time::Instant::now();
        let room = Room::of(config.vhost_memory());
        let store = Folder::open(folder, room, config.mark_delay, repairs)?;
        let failure = Arc::<watch::Sender<Option<Failure>>>::default();
        let (faults, clients, mut hosts) = (FaultPlan::default(), Arc::<Clients>::default(), HashMap::new());
        // Those that were created while a broker ran are there again.
        for name in store.created_vhosts()? {
            config.vhosts.add(name);
        }
        let mut all = Vec::new();
        for name in config.vhosts.all().into_iter().filter(|name| !gateways.contains_key(name)) {
            let (host, writer, restored) = open_kept(&store, &name, &config, &faults)?;
            hosts.insert(name, Arc::clone(&host));
            all.push((host, writer, restored));
        }
        store.is_whole()?;
        #[cfg(not(feature = "management"))]
        store.warn_of_administration();
        let restored: Vec<_> = all.iter().map(|(_, _, restored)| *restored).collect();
        for (host, writer, _) in all {
            start_writer(writer, &host, (&clients, &failure), folder)?;
        }
        let hosts: Arc<Hosts> = Arc::new(RwLock::new(hosts));
        let watched = Arc::downgrade(&hosts);
        let (path, told, failed) = (folder.to_owned(), Arc::clone(&clients), Arc::clone(&failure));
        store.watch(config.disk_free_limit, move |report| match report {
            WatchReport::Low(is_low) => {
                let all = watched.upgrade().map(|hosts| hosts.read().values().cloned().collect::<Vec<_>>());
                let all = all.unwrap_or_default();
                all.iter().for_each(|host| host.with(|_, shared| shared.low_on_disk(is_low)));
            }
            WatchReport::Failed(error) => {
                told.close_all(&Refusal::DiskFailed);
                fail(&failed, Failure::Disk { path: path.clone(), source: Arc::new(error) });
            }
        })?;
        say_restored(folder, &restored, started.elapsed());
        let (ending, sockets) = (watch::Sender::new(false), Sockets::beside(room.files()));
        Ok(Instance {
            config,
            clients,
            faults,
            hosts,
            gateways,
            ending,
            failure,
            sockets,
            #[cfg(feature = "management")]
            changing: tokio::sync::Mutex::new(()),
            #[cfg(feature = "management")]
            store: crate::sync::Mutex::new(Some(store)),
            #[cfg(feature = "management")]
            listening: Default::default(),
            #[cfg(feature = "management")]
            parameters: Default::default(),
            #[cfg(feature = "management")]
            kept_changes: Default::default(),
            #[cfg(feature = "management")]
            began: Instant::now(),
        })
    }

    /// Creates a broker with persistent state on a simulated disk, and restores what is there.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(
        config: Config,
        gateways: Gateways,
        store: &crate::simulated_disk::SimulatedDisk,
    ) -> Self {
        let instance = Instance::new(config, gateways);
        for (name, place) in &mut *instance.hosts.write() {
            let mut vhost = empty_vhost(name, &instance.config);
            vhost.began = since_1970();
            let (disk, writer) = store.open(&mut vhost);
            let restored =
                Arc::new(host(vhost, Some(disk), Instant::now(), &instance.config, &instance.faults));
            *place = Arc::clone(&restored);
            let told = Arc::downgrade(&restored);
            tokio::spawn(writer.run(move |progress| {
                if let Some(host) = told.upgrade() {
                    host.tell(&progress);
                }
            }));
        }
        instance
    }

    pub(crate) fn host(&self, vhost: &str) -> Option<Arc<Host>> {
        self.hosts.read().get(vhost).cloned()
    }

    /// The backend of a virtual host that has one.
    pub(crate) fn gateway(&self, vhost: &str) -> Option<Arc<dyn Gateway>> {
        self.gateways.get(vhost).cloned()
    }

    /// Applies changed permissions of a client's user to its open connection.
    pub(crate) fn renew_access(&self, client: &Client) {
        let Some(Login { user, vhost, id, .. }) = client.login() else { return };
        if !self.config.users.has(user) {
            let code = ReplyCode::CONNECTION_FORCED;
            client.command(Command::Close {
                code,
                text: reply_text(code, &format!("user '{user}' is deleted")),
            });
        }
        if let (Some(host), Some(id)) = (self.host(vhost), id) {
            let access = self.config.users.access(user, vhost);
            host.with(|_, shared| shared.vhost.renew_access(*id, access));
        }
    }

    /// Creates a virtual host; returns whether it is new.
    ///
    /// # Errors
    /// When its name cannot be one, or it cannot be written to the folder.
    #[cfg(feature = "management")]
    pub(crate) async fn create_vhost(self: &Arc<Self>, name: &str) -> Result<bool, InvalidVhost> {
        if name.is_empty() || name.len() > amqp_codec::ShortString::MAX {
            return Err(InvalidVhost::Name { length: name.len() });
        }
        let _changing = self.changing.lock().await;
        if self.config.vhosts.has(name) {
            return Ok(false);
        }
        let (instance, wanted) = (Arc::clone(self), name.to_owned());
        // A folder is written to, which other tasks do not wait for.
        let opened = tokio::task::spawn_blocking(move || instance.open_host(&wanted)).await;
        let folder = |why: String| InvalidVhost::Folder { name: name.to_owned(), why };
        let host = opened.map_err(|error| folder(error.to_string()))??;
        self.hosts.write().insert(name.to_owned(), host);
        self.config.vhosts.add(name.to_owned());
        tracing::info!(vhost = shown(name), "virtual host created");
        Ok(true)
    }

    /// Opens a new virtual host, in the folder if there is one.
    #[cfg(feature = "management")]
    fn open_host(&self, name: &str) -> Result<Arc<Host>, InvalidVhost> {
        #[cfg(feature = "durable")]
        if let Some(store) = self.folder() {
            let open = || {
                let (host, writer, _) = open_kept(&store, name, &self.config, &self.faults)?;
                start_writer(writer, &host, (&self.clients, &self.failure), store.path())?;
                store.vhost_created(name)?;
                Ok(host)
            };
            let folder = |error: DataError| InvalidVhost::Folder {
                name: name.to_owned(),
                why: Report(&error).to_string(),
            };
            return open().map_err(folder);
        }
        let vhost = empty_vhost(name, &self.config);
        Ok(Arc::new(host(vhost, None, Instant::now(), &self.config, &self.faults)))
    }

    /// Deletes a virtual host with all that is in it, after its connections, which are closed;
    /// returns whether there was one.
    ///
    /// # Errors
    /// When its other side is a backend, or it cannot be removed from the folder.
    #[cfg(feature = "management")]
    pub(crate) async fn delete_vhost(self: &Arc<Self>, name: &str) -> Result<bool, InvalidVhost> {
        if self.gateways.contains_key(name) {
            return Err(InvalidVhost::HasBackend { name: name.to_owned() });
        }
        let _changing = self.changing.lock().await;
        // From here on nobody enters it.
        if !self.config.vhosts.remove(name) {
            return Ok(false);
        }
        self.config.users.forget_vhost(name);
        let code = ReplyCode::CONNECTION_FORCED;
        let text = reply_text(code, &format!("vhost '{name}' is deleted"));
        self.clients.leave(name, &Command::Close { code, text }).await;
        let Some(host) = self.host(name) else { return Ok(true) };
        // What is durable is deleted as by clients, so that the folder forgets it.
        while !host.with(|now, shared| shared.vhost.clear(now, &mut shared.outboxes)) {
            tokio::task::yield_now().await;
        }
        self.hosts.write().remove(name);
        host.close().await;
        #[cfg(feature = "durable")]
        if let Some(store) = self.folder() {
            let wanted = name.to_owned();
            let forgotten = tokio::task::spawn_blocking(move || store.vhost_deleted(&wanted)).await;
            let folder = |why: String| InvalidVhost::Folder { name: name.to_owned(), why };
            let forgotten = forgotten.map_err(|error| folder(error.to_string()))?;
            forgotten.map_err(|error| folder(Report(&error).to_string()))?;
        }
        tracing::info!(vhost = shown(name), "virtual host deleted");
        Ok(true)
    }

    /// All virtual hosts.
    pub(crate) fn hosts(&self) -> Vec<Arc<Host>> {
        self.hosts.read().values().cloned().collect()
    }

    /// A receiver of the end. Holding it delays the end until it is dropped.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// The folder, until the broker has ended.
    #[cfg(all(feature = "durable", feature = "management"))]
    pub(crate) fn folder(&self) -> Option<Arc<Folder>> {
        self.store.lock().clone()
    }

    /// Tells whether the broker ends.
    #[cfg(feature = "management")]
    pub(crate) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Why the broker cannot go on, if that is so.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.borrow().clone()
    }

    /// Waits until the broker cannot go on.
    pub(crate) async fn failed(&self) -> Failure {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
            Ok(Some(failure)) => failure,
            _ => std::future::pending().await,
        }
    }

    /// Tells all tasks to end, and waits until they have.
    pub(crate) async fn end(&self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
        for host in self.hosts() {
            host.close().await;
        }
        // Another broker may use the folder from now on.
        #[cfg(all(feature = "durable", feature = "management"))]
        drop(self.store.lock().take());
    }
}

/// Opens a virtual host that a folder keeps, and restores what is there.
#[cfg(feature = "durable")]
fn open_kept(
    store: &Arc<Folder>,
    name: &str,
    config: &Config,
    faults: &FaultPlan,
) -> Result<(Arc<Host>, Writer, Restored), DataError> {
    let mut vhost = empty_vhost(name, config);
    let began = Instant::now();
    vhost.began = since_1970();
    let (disk, writer, restored) = Writer::restore(store, &mut vhost)?;
    Ok((Arc::new(host(vhost, Some(disk), began, config, faults)), writer, restored))
}

/// Starts the thread that writes what a virtual host changes.
#[cfg(feature = "durable")]
fn start_writer(
    writer: Writer,
    host: &Arc<Host>,
    (clients, failure): (&Arc<Clients>, &Arc<watch::Sender<Option<Failure>>>),
    folder: &Path,
) -> Result<(), DataError> {
    let (told, clients, failure) = (Arc::downgrade(host), Arc::clone(clients), Arc::clone(failure));
    let tell = move |progress| {
        if let Some(host) = told.upgrade() {
            host.tell(&progress);
        }
        if let DiskReport::Failed(why) = progress {
            clients.close_all(&Refusal::DiskFailed);
            fail(&failure, why);
        }
    };
    let unusable = |source| DataError::Unusable { path: folder.to_owned(), source };
    writer.start(tell).map_err(unusable)
}

/// Logs what was restored.
#[cfg(feature = "durable")]
fn say_restored(folder: &Path, restored: &[Restored], took: Duration) {
    let sum = |count: fn(&Restored) -> usize| restored.iter().map(count).sum::<usize>();
    let end = if restored.iter().all(|restored| restored.was_clean) {
        "a clean end"
    } else {
        "an end that was not clean"
    };
    tracing::info!(
        "version {} with {}: {} exchanges, {} queues, {} bindings and {} messages recovered after {end}, in {:.3} s",
        env!("CARGO_PKG_VERSION"),
        folder.display(),
        sum(|restored| restored.exchanges),
        sum(|restored| restored.queues),
        sum(|restored| restored.bindings),
        sum(|restored| restored.messages),
        took.as_secs_f64(),
    );
}

/// Notes the cause of a failure; only the first is kept.
#[cfg(feature = "durable")]
fn fail(failure: &watch::Sender<Option<Failure>>, why: Failure) {
    failure.send_if_modified(|first| {
        let is_first = first.is_none();
        if is_first {
            tracing::error!("{}: nothing more is stored", Report(&why));
            *first = Some(why);
        }
        is_first
    });
}

/// A virtual host as it is configured, before anything is restored.
fn empty_vhost(name: &str, config: &Config) -> Vhost {
    let mut vhost = Vhost::new(name, config.limits()).like(config.like);
    for policy in config.policies_of(name) {
        if let Err(error) = vhost.configure_policy(policy.clone()) {
            tracing::error!(
                vhost = shown(name),
                policy = shown(&policy.name),
                %error,
                "a policy has no effect in this version"
            );
        }
    }
    vhost
}

fn host(vhost: Vhost, disk: Option<Disk>, began: Instant, config: &Config, faults: &FaultPlan) -> Host {
    let mut shared = Shared::new(vhost, Arc::clone(&faults.publish_faults), config.vhost_memory());
    shared.set_stall_timeout(u64::try_from(config.stall_timeout.as_millis()).unwrap_or(u64::MAX));
    if disk.is_none() {
        shared.vhost.began = since_1970();
    }
    Host::new(shared, disk, began)
}
