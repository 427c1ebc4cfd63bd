//! The files of a virtual host: what was written, and what is written next.

use std::{collections::HashMap, collections::HashSet, sync::Arc};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode};

use crate::core::{
    journal::{Record, Stored},
    restore::Restoration,
    vhost::Vhost,
};

use super::{format, room::Room};

/// There when the last end was a clean one.
const CLEAN: &[u8] = b"clean";

/// The files of a virtual host.
pub(super) struct Files {
    database: Database,
    /// Exchanges, queues, bindings.
    topology: Keyspace,
    messages: Keyspace,
    /// Large bodies, each once.
    bodies: Keyspace,
    /// When the virtual host's clock began, in milliseconds since 1970.
    began: u64,
    large: LargeBodies,
}

/// Which messages have which large body.
#[derive(Default)]
struct LargeBodies {
    last: u64,
    /// By where the body lies in memory, which nothing else can while it is held here.
    numbers: HashMap<usize, u64>,
    /// How many messages have it, and the body itself.
    users: HashMap<u64, (usize, Arc<Vec<Bytes>>)>,
    /// By queue and position.
    of: HashMap<(u64, u64), u64>,
}

impl LargeBodies {
    /// A message has a body; its number, and whether it is new.
    fn enter(&mut self, place: (u64, u64), body: &Arc<Vec<Bytes>>) -> (u64, bool) {
        let address = address(body);
        let number = *self.numbers.entry(address).or_insert_with(|| {
            self.last += 1;
            self.last
        });
        let (users, _) = self.users.entry(number).or_insert_with(|| (0, Arc::clone(body)));
        *users += 1;
        let is_new = *users == 1;
        self.of.insert(place, number);
        (number, is_new)
    }

    /// A message goes; the number of its body, if nobody else has it.
    fn leave(&mut self, place: (u64, u64)) -> Option<u64> {
        let number = self.of.remove(&place)?;
        let (users, _) = self.users.get_mut(&number)?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let (_, body) = self.users.remove(&number)?;
        self.numbers.remove(&address(&body));
        Some(number)
    }
}

fn address(body: &Arc<Vec<Bytes>>) -> usize {
    Arc::as_ptr(body).addr()
}

impl Files {
    /// Opens them, making them where there are none.
    pub(super) fn open(database: &Database, vhost: &str, room: Room) -> fjall::Result<Self> {
        let plain = || KeyspaceCreateOptions::default().max_memtable_size(room.memtable);
        let separated = || plain().with_kv_separation(Some(KvSeparationOptions::default()));
        let topology = database.keyspace(&format!("{vhost}.topology"), plain)?;
        let messages = database.keyspace(&format!("{vhost}.messages"), plain)?;
        let bodies = database.keyspace(&format!("{vhost}.bodies"), separated)?;
        let database = database.clone();
        Ok(Files { database, topology, messages, bodies, began: 0, large: LargeBodies::default() })
    }

    /// Puts a virtual host back as it was, and clears away what belongs to nobody.
    pub(super) fn restore(&mut self, vhost: &mut Vhost) -> fjall::Result<()> {
        self.began = vhost.began;
        let was_clean = self.topology.contains_key(CLEAN)?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.remove(&self.topology, CLEAN);
        let mut restoration = Restoration::new(vhost);
        for kind in [format::EXCHANGE, format::QUEUE, format::EMPTIED, format::BINDING] {
            for guard in self.topology.prefix([kind]) {
                let (key, value) = guard.into_inner()?;
                let record = match kind {
                    format::BINDING => format::read_binding(&key, &value).map(Record::Bound),
                    format::EMPTIED => format::read_emptied(&key, &value),
                    _ => format::read_entity(&key, &value),
                };
                if !record.is_some_and(|record| restoration.put(record)) {
                    batch.remove(&self.topology, key);
                }
            }
        }
        let mut bodies = HashMap::<u64, Arc<Vec<Bytes>>>::new();
        for guard in self.messages.iter() {
            let (key, value) = guard.into_inner()?;
            let mut failed = None;
            let find = |number: u64| match bodies.get(&number) {
                Some(body) => Some(Arc::clone(body)),
                None => match self.bodies.get(number.to_be_bytes()) {
                    Ok(found) => {
                        let body: Arc<Vec<Bytes>> = Arc::new(vec![Bytes::copy_from_slice(&found?)]);
                        bodies.insert(number, Arc::clone(&body));
                        Some(body)
                    }
                    Err(error) => {
                        failed = Some(error);
                        None
                    }
                },
            };
            let written = format::read_message(&key, &value, self.began, find);
            if let Some(error) = failed {
                return Err(error);
            }
            let Some(format::Written { mut stored, body }) = written else {
                batch.remove(&self.messages, key);
                continue;
            };
            // After an end that was not clean nobody knows what had been delivered.
            stored.redelivered |= !was_clean;
            let (place, message) = ((stored.queue, stored.position), stored.message.clone());
            if !restoration.put(Record::Stored(stored)) {
                batch.remove(&self.messages, key);
            } else if let (Some(number), Some(large)) = (body, message.pack().large) {
                self.large.last = self.large.last.max(number);
                self.large.numbers.insert(address(large), number);
                self.large.users.entry(number).or_insert_with(|| (0, Arc::clone(large))).0 += 1;
                self.large.of.insert(place, number);
            }
        }
        restoration.finish();
        for guard in self.bodies.iter() {
            let key = guard.key()?;
            let number = <[u8; 8]>::try_from(&*key).map_or(0, u64::from_be_bytes);
            self.large.last = self.large.last.max(number);
            if !self.large.users.contains_key(&number) {
                batch.remove(&self.bodies, key);
            }
        }
        batch.commit()
    }

    /// Writes changes, all of them or none; on disk when it returns, but for messages that have only gone or
    /// returned.
    pub(super) fn write(&mut self, records: Vec<Record>) -> fjall::Result<()> {
        let is_promised = |record: &Record| !matches!(record, Record::Gone { .. } | Record::Returned(_));
        let mode = if !records.iter().any(is_promised) { PersistMode::Buffer } else { PersistMode::SyncData };
        let mut batch = self.database.batch().durability(Some(mode));
        // What comes and goes in one batch is not written at all.
        let mut gone = HashSet::new();
        let mut never_written = HashSet::new();
        let mut deleted = HashSet::new();
        for record in &records {
            match record {
                Record::Gone { queue, position } => drop(gone.insert((*queue, *position))),
                Record::QueueDeleted { serial } => drop(deleted.insert(*serial)),
                _ => {}
            }
        }
        for record in records {
            match record {
                Record::ExchangeDeclared { serial, declared } => {
                    let key = format::entity_key(format::EXCHANGE, serial);
                    batch.insert(&self.topology, key, format::exchange(&declared));
                }
                Record::ExchangeDeleted { serial } => {
                    batch.remove(&self.topology, format::entity_key(format::EXCHANGE, serial));
                }
                Record::QueueDeclared { serial, name, auto_delete, arguments } => {
                    let key = format::entity_key(format::QUEUE, serial);
                    batch.insert(&self.topology, key, format::queue(&name, auto_delete, &arguments));
                }
                Record::QueueDeleted { serial } => self.delete_queue(serial, &mut batch)?,
                Record::Bound(binding) => {
                    let key = format::binding_key(&binding);
                    batch.insert(&self.topology, key, &binding.arguments.as_encoded()[..]);
                }
                Record::Unbound(binding) => batch.remove(&self.topology, format::binding_key(&binding)),
                Record::Stored(stored) if deleted.contains(&stored.queue) => {}
                Record::Stored(stored) if gone.remove(&(stored.queue, stored.position)) => {
                    never_written.insert((stored.queue, stored.position));
                }
                Record::Returned(stored) if deleted.contains(&stored.queue) => {}
                Record::Returned(Stored { queue, position, .. })
                    if gone.contains(&(queue, position)) || never_written.contains(&(queue, position)) => {}
                Record::Stored(stored) | Record::Returned(stored) => self.store(&stored, &mut batch),
                Record::Emptied { queue, .. } if deleted.contains(&queue) => {}
                Record::Emptied { queue, end } => {
                    let key = format::entity_key(format::EMPTIED, queue);
                    batch.insert(&self.topology, key, end.to_be_bytes());
                }
                // Below, those that were written before.
                Record::Gone { .. } => {}
            }
        }
        for (queue, position) in gone {
            self.remove(queue, position, &mut batch);
        }
        batch.commit()
    }

    fn store(&mut self, stored: &Stored, batch: &mut OwnedWriteBatch) {
        let place = (stored.queue, stored.position);
        let body = stored.message.pack().large.map(|body| {
            // One that has returned has its body there.
            if let Some(number) = self.large.of.get(&place) {
                return *number;
            }
            let (number, is_new) = self.large.enter(place, body);
            if is_new {
                batch.insert(&self.bodies, number.to_be_bytes(), body.concat());
            }
            number
        });
        let key = format::message_key(stored.queue, stored.position);
        batch.insert(&self.messages, key, format::message(stored, body, self.began));
    }

    fn remove(&mut self, queue: u64, position: u64, batch: &mut OwnedWriteBatch) {
        batch.remove(&self.messages, format::message_key(queue, position));
        if let Some(body) = self.large.leave((queue, position)) {
            batch.remove(&self.bodies, body.to_be_bytes());
        }
    }

    fn delete_queue(&mut self, serial: u64, batch: &mut OwnedWriteBatch) -> fjall::Result<()> {
        batch.remove(&self.topology, format::entity_key(format::QUEUE, serial));
        batch.remove(&self.topology, format::entity_key(format::EMPTIED, serial));
        for guard in self.messages.prefix(serial.to_be_bytes()) {
            let key = guard.key()?;
            if let Ok(place) = <[u8; 16]>::try_from(&*key) {
                self.remove(serial, u128::from_be_bytes(place) as u64, batch);
            }
        }
        Ok(())
    }

    /// Ends cleanly: what was delivered before is known.
    pub(super) fn finish(&mut self, redelivered: &[Stored]) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for stored in redelivered {
            let place = (stored.queue, stored.position);
            let body = self.large.of.get(&place).copied();
            let key = format::message_key(stored.queue, stored.position);
            batch.insert(&self.messages, key, format::message(stored, body, self.began));
        }
        batch.insert(&self.topology, CLEAN, "");
        batch.commit()
    }
}
