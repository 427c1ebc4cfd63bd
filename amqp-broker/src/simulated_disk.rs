//! A disk in memory, for simulations: it loses what is not synced when its broker dies.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use amqp_codec::ShortString;
use tokio::time::sleep;

use crate::{
    core::{
        journal::records::{Changes, DurableBinding, Record, Stored},
        vhost::{Vhost, restore::Restoration},
    },
    store::{Disk, DiskQueue, DiskReport},
    sync::Mutex,
};

/// The bytes that may wait to be written, and the bytes that are written together.
const ROOM: u64 = 1 << 20;
const BATCH: u64 = 16 << 10;

/// A disk in memory, on which one broker after another keeps its persistent state; see
/// [`BrokerBuilder::build_on`](crate::BrokerBuilder::build_on). With the feature `simulation`.
///
/// It works as the store in a folder does: changes that gather are written together, whole or not
/// at all, and the answers that promise them wait until they are synced. Unlike the store it needs
/// no thread, and it lets virtual time pass for each sync. Clones are handles of the same disk.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use amqp_broker::{Broker, SimulatedDisk};
///
/// let disk = SimulatedDisk::new(7);
/// let first = Broker::builder().build_on(&disk);
/// disk.crash();                                     // `first` writes nothing more
/// let second = Broker::builder().build_on(&disk);   // it has what was synced
/// # drop((first, second));
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The state of the random numbers.
    random: u64,
    /// The number of the broker's deaths. A writer of an earlier life writes nothing more.
    life: u64,
    /// The records that are synced, by virtual host.
    synced: BTreeMap<(String, Key), Record>,
    /// The changes that are written and not synced, in order.
    written: VecDeque<(String, Changes)>,
    /// The virtual hosts that have ended in an orderly way.
    clean: BTreeSet<String>,
    /// The longest time that a sync takes, in milliseconds.
    slowest: u64,
}

/// The place of a record, in the order in which records are restored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Policy { name: ShortString, is_of_operator: bool },
    Exchange(u64),
    Queue(u64),
    Emptied(u64),
    Binding { source: u64, destination: u64, to_exchange: bool, key: ShortString, arguments: Vec<u8> },
    Message { queue: u64, position: u64 },
}

impl SimulatedDisk {
    /// An empty disk. How long each sync takes, and how much of what is not synced a crash leaves,
    /// follows from the seed.
    pub fn new(seed: u64) -> Self {
        let (synced, written, clean) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        let state = State { random: seed, life: 0, synced, written, clean, slowest: 20 };
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets the longest time that a sync takes, in whole milliseconds. Default 20 ms.
    pub fn set_slowest_sync(&self, time: Duration) {
        self.state.lock().slowest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    }

    /// Cuts the broker off, as a power failure does. What is not synced is lost from some point on:
    /// whole batches, because the store drops one that is torn.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        let written = state.written.len() as u64;
        let survivors = state.draw(written);
        for _ in 0..survivors {
            state.sync_one();
        }
        state.written.clear();
    }

    /// Restores a virtual host, and begins to write its changes.
    pub(crate) fn open(&self, vhost: &mut Vhost) -> (Disk, SimulatedWriter) {
        let name = vhost.name().to_owned();
        let mut state = self.state.lock();
        let was_clean = state.clean.remove(&name);
        let mut restoration = Restoration::new(vhost);
        for ((_, _), record) in state.synced.iter().filter(|((of, _), _)| *of == name) {
            let mut record = record.clone();
            if let Record::Stored(stored) | Record::Returned(stored) = &mut record {
                // After a crash it is unknown which messages had been delivered.
                stored.redelivered |= !was_clean;
            }
            restoration.put(record);
        }
        restoration.finish();
        let (disk, queue) = Disk::new(ROOM, BATCH);
        (disk, SimulatedWriter { queue, disk: self.clone(), vhost: name, life: state.life })
    }

    /// Writes changes; returns how long their sync takes if they need one. `None` when the broker
    /// is dead.
    fn write(&self, writer: &SimulatedWriter, changes: Changes) -> Option<Option<Duration>> {
        let mut state = self.state.lock();
        if state.life != writer.life {
            return None;
        }
        let is_promised = |record: &Record| !matches!(record, Record::Gone { .. } | Record::Returned(_));
        let needs_sync = changes.iter().any(is_promised);
        state.written.push_back((writer.vhost.clone(), changes));
        let slowest = state.slowest;
        Some(needs_sync.then(|| Duration::from_millis(state.draw(slowest))))
    }

    /// Syncs what is written; tells whether the broker is alive.
    fn sync(&self, writer: &SimulatedWriter) -> bool {
        let mut state = self.state.lock();
        let is_alive = state.life == writer.life;
        while is_alive && !state.written.is_empty() {
            state.sync_one();
        }
        is_alive
    }

    /// Notes an orderly end.
    fn finish(&self, writer: &SimulatedWriter, redelivered: Vec<Stored>) {
        if self.sync(writer) {
            let mut state = self.state.lock();
            for stored in redelivered {
                state.apply(&writer.vhost, Record::Stored(stored));
            }
            state.clean.insert(writer.vhost.clone());
        }
    }
}

impl State {
    /// A number from 0 to `most`, by splitmix64.
    fn draw(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most.saturating_add(1)
    }

    fn sync_one(&mut self) {
        if let Some((vhost, changes)) = self.written.pop_front() {
            changes.into_iter().for_each(|record| self.apply(&vhost, record));
        }
    }

    fn apply(&mut self, vhost: &str, record: Record) {
        let place = |key| (vhost.to_owned(), key);
        match &record {
            Record::ExchangeDeclared { serial, .. } => {
                self.synced.insert(place(Key::Exchange(*serial)), record);
            }
            Record::QueueDeclared { serial, .. } => {
                self.synced.insert(place(Key::Queue(*serial)), record);
            }
            Record::Emptied { queue, .. } => {
                self.synced.insert(place(Key::Emptied(*queue)), record);
            }
            Record::PolicySet(policy) => {
                let key = Key::Policy { name: policy.name.clone(), is_of_operator: policy.is_of_operator };
                self.synced.insert(place(key), record);
            }
            Record::PolicyCleared { name, is_of_operator } => {
                let key = Key::Policy { name: name.clone(), is_of_operator: *is_of_operator };
                self.synced.remove(&place(key));
            }
            Record::Bound(binding) => {
                self.synced.insert(place(Key::of_binding(binding)), record);
            }
            Record::Stored(Stored { queue, position, .. })
            | Record::Returned(Stored { queue, position, .. }) => {
                let key = Key::Message { queue: *queue, position: *position };
                self.synced.insert(place(key), record);
            }
            Record::Unbound(binding) => drop(self.synced.remove(&place(Key::of_binding(binding)))),
            Record::Gone { queue, position } => {
                let key = Key::Message { queue: *queue, position: *position };
                self.synced.remove(&place(key));
            }
            Record::ExchangeDeleted { serial } => {
                self.synced.remove(&place(Key::Exchange(*serial)));
            }
            Record::QueueDeleted { serial } => self.synced.retain(|(of, key), _| {
                let is_its = match key {
                    Key::Queue(queue) | Key::Emptied(queue) | Key::Message { queue, .. } => queue == serial,
                    Key::Policy { .. } | Key::Exchange(_) | Key::Binding { .. } => false,
                };
                of != vhost || !is_its
            }),
        }
    }
}

impl Key {
    fn of_binding(binding: &DurableBinding) -> Self {
        Key::Binding {
            source: binding.source,
            destination: binding.destination,
            to_exchange: binding.to_exchange,
            key: binding.key.clone(),
            arguments: binding.arguments.as_encoded().to_vec(),
        }
    }
}

/// Writes the changes of a virtual host to a simulated disk.
pub(crate) struct SimulatedWriter {
    queue: Arc<DiskQueue>,
    disk: SimulatedDisk,
    vhost: String,
    life: u64,
}

impl SimulatedWriter {
    /// Writes until the end, or until the broker is dead.
    pub(crate) async fn run(self, tell: impl Fn(DiskReport) + Send) {
        self.write(tell).await;
        self.queue.closed.send_replace(true);
    }

    async fn write(&self, tell: impl Fn(DiskReport) + Send) {
        loop {
            let added = {
                let mut waiting = self.queue.waiting.lock();
                if waiting.added.is_empty() && waiting.ends {
                    let redelivered = waiting.redelivered.take();
                    drop(waiting);
                    return redelivered
                        .into_iter()
                        .for_each(|redelivered| self.disk.finish(self, redelivered));
                }
                (!waiting.added.is_empty()).then(|| waiting.take(self.queue.batch))
            };
            let Some(added) = added else {
                self.queue.noticed.notified().await;
                continue;
            };
            let bytes = added.changes.weight();
            let Some(sync) = self.disk.write(self, added.changes) else { return };
            if let Some(time) = sync {
                sleep(time).await;
                if !self.disk.sync(self) {
                    return;
                }
            }
            tell(DiskReport::Written { change: added.change, has_room: self.queue.is_written(bytes) });
            self.queue.written.send_replace(added.change);
        }
    }
}
