//! The files of a virtual host: it restores the state from them, and writes changes to them.

pub(crate) mod format;

use std::{collections::HashMap, collections::HashSet, sync::Arc};

use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use crate::{
    core::{
        journal::records::{Changes, Record, Stored},
        vhost::{Vhost, restore::Restoration},
    },
    shown::shown,
};

use super::{folder::Folder, number, options::BODIES};

/// The key that is present after an orderly end.
const CLEAN: &[u8] = b"clean";

/// The files of a virtual host.
pub(super) struct Files {
    folder: Arc<Folder>,
    /// Policies, exchanges, queues and bindings.
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
    /// The number of each body, by its memory address, which is unique while the body is held here.
    numbers: HashMap<usize, u64>,
    /// How many messages have a body, and the body itself.
    users: HashMap<u64, (usize, Arc<Vec<Bytes>>)>,
    /// The number of the body, by queue and position of the message.
    of: HashMap<(u64, u64), u64>,
}

impl LargeBodies {
    /// Notes that a message has a body; returns its number, and whether it is new.
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

    /// Notes that a restored message has a body.
    fn restore(&mut self, place: (u64, u64), number: u64, body: &Arc<Vec<Bytes>>) {
        self.last = self.last.max(number);
        self.numbers.insert(address(body), number);
        self.users.entry(number).or_insert_with(|| (0, Arc::clone(body))).0 += 1;
        self.of.insert(place, number);
    }

    /// Notes that a message is gone; returns the number of its body if no other message has it.
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

/// The result of the restoration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restored {
    pub(crate) exchanges: usize,
    pub(crate) queues: usize,
    pub(crate) bindings: usize,
    pub(crate) messages: usize,
    /// How many records are unreadable.
    pub(crate) unreadable: usize,
    /// Whether the last end was orderly.
    pub(crate) was_clean: bool,
}

impl Restored {
    fn count(&mut self, kind: u8) {
        match kind {
            format::EXCHANGE => self.exchanges += 1,
            format::QUEUE => self.queues += 1,
            format::BINDING => self.bindings += 1,
            _ => {}
        }
    }
}

/// The place of a record.
#[derive(Clone, Copy)]
enum Part {
    Topology,
    Messages,
    Bodies,
}

/// The records that are to be removed.
#[derive(Default)]
struct Cleared {
    keys: Vec<(Part, fjall::UserKey)>,
    unreadable: usize,
}

impl Cleared {
    fn add(&mut self, part: Part, key: fjall::UserKey, is_unreadable: bool) {
        self.keys.push((part, key));
        self.unreadable += usize::from(is_unreadable);
    }
}

fn address(body: &Arc<Vec<Bytes>>) -> usize {
    Arc::as_ptr(body).addr()
}

impl Files {
    /// Opens the files, or creates them.
    pub(super) fn open(folder: &Arc<Folder>, vhost: &str) -> fjall::Result<Self> {
        let names = [format!("{vhost}.topology"), format!("{vhost}.messages"), format!("{vhost}{BODIES}")];
        let [topology, messages, bodies] = folder.keyspaces(names)?;
        let folder = Arc::clone(folder);
        Ok(Files { folder, topology, messages, bodies, began: 0, large: LargeBodies::default() })
    }

    /// Restores a virtual host, and removes records that belong to nothing. Unreadable records stay
    /// and are an error; in a repair they are set aside with all that belongs to them.
    pub(super) fn restore(&mut self, vhost: &mut Vhost) -> fjall::Result<Restored> {
        self.began = vhost.began;
        let mut restored = Restored { was_clean: self.topology.contains_key(CLEAN)?, ..Restored::default() };
        let mut gone = Cleared::default();
        let mut restoration = Restoration::new(vhost);
        self.restore_topology(&mut restoration, &mut restored, &mut gone)?;
        self.restore_messages(&mut restoration, &mut restored, &mut gone)?;
        restoration.finish();
        self.find_bodies_of_nobody(&mut gone)?;
        restored.unreadable = gone.unreadable;
        if gone.unreadable == 0 || self.folder.is_repaired() {
            self.clear(gone)?;
            self.folder.begin()?;
        }
        Ok(restored)
    }

    fn restore_topology(
        &self,
        restoration: &mut Restoration<'_>,
        restored: &mut Restored,
        gone: &mut Cleared,
    ) -> fjall::Result<()> {
        self.restore_policies(restoration, gone)?;
        for kind in [format::EXCHANGE, format::QUEUE, format::EMPTIED, format::BINDING] {
            for guard in self.topology.prefix([kind]) {
                let (key, value) = guard.into_inner()?;
                let record = match kind {
                    format::BINDING => format::read_binding(&key, &value).map(Record::Bound),
                    format::EMPTIED => format::read_emptied(&key, &value),
                    _ => format::read_entity(&key, &value),
                };
                let is_read = record.is_some();
                let belongs = record.is_some_and(|record| restoration.put(record));
                // An exchange or a queue depends on no other record, so one that cannot be restored
                // is unreadable.
                let is_entity = matches!(kind, format::EXCHANGE | format::QUEUE);
                match belongs {
                    true => restored.count(kind),
                    false => gone.add(Part::Topology, key, !is_read || is_entity),
                }
            }
        }
        Ok(())
    }

    fn restore_policies(&self, restoration: &mut Restoration<'_>, gone: &mut Cleared) -> fjall::Result<()> {
        for guard in self.topology.prefix([format::POLICY]) {
            let (key, value) = guard.into_inner()?;
            match format::read_policy(&key, &value) {
                Some(Ok(policy)) => _ = restoration.put(Record::PolicySet(Box::new(policy))),
                Some(Err(error)) => {
                    let key = String::from_utf8_lossy(&key);
                    tracing::warn!(key = shown(key), %error, "a policy is kept and has no effect in this version");
                }
                None => gone.add(Part::Topology, key, true),
            }
        }
        Ok(())
    }

    fn restore_messages(
        &mut self,
        restoration: &mut Restoration<'_>,
        restored: &mut Restored,
        gone: &mut Cleared,
    ) -> fjall::Result<()> {
        let mut bodies = HashMap::<u64, Arc<Vec<Bytes>>>::new();
        let messages = self.messages.clone();
        for guard in messages.iter() {
            let (key, value) = guard.into_inner()?;
            if *key == *number::KEY {
                continue;
            }
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
                gone.add(Part::Messages, key, true);
                continue;
            };
            // After a crash it is unknown which messages had been delivered.
            stored.redelivered |= !restored.was_clean;
            let (place, message) = ((stored.queue, stored.position), stored.message.clone());
            if !restoration.put(Record::Stored(stored)) {
                gone.add(Part::Messages, key, false);
                continue;
            }
            restored.messages += 1;
            if let (Some(number), Some(large)) = (body, message.pack().large) {
                self.large.restore(place, number, large);
            }
        }
        Ok(())
    }

    fn find_bodies_of_nobody(&mut self, gone: &mut Cleared) -> fjall::Result<()> {
        for guard in self.bodies.iter() {
            let key = guard.key()?;
            let number = <[u8; 8]>::try_from(&*key).map_or(0, u64::from_be_bytes);
            self.large.last = self.large.last.max(number);
            if !self.large.users.contains_key(&number) {
                gone.add(Part::Bodies, key, false);
            }
        }
        Ok(())
    }

    /// Removes records that belong to nothing and, once they are set aside, unreadable ones.
    fn clear(&self, gone: Cleared) -> fjall::Result<()> {
        for (part, key) in &gone.keys {
            let keyspace = self.part(*part);
            if let Some(value) = keyspace.get(key)? {
                self.folder.keep_aside(keyspace.name(), key, &value)?;
            }
        }
        let mut batch = self.folder.batch(&self.messages, PersistMode::SyncAll);
        batch.batch.remove(&self.topology, CLEAN);
        for (part, key) in gone.keys {
            batch.batch.remove(self.part(part), key);
        }
        batch.commit()
    }

    fn part(&self, part: Part) -> &Keyspace {
        match part {
            Part::Topology => &self.topology,
            Part::Messages => &self.messages,
            Part::Bodies => &self.bodies,
        }
    }

    /// Waits until the store holds about no more in memory than it may.
    pub(super) fn wait_for_flush(&self) {
        let parts = [&self.topology, &self.messages, &self.bodies];
        self.folder.wait_for_flush(|| parts.iter().any(|part| part.sealed_memtable_count() > 0));
    }

    /// Writes changes atomically. They are on disk when this returns, except those of messages that
    /// only left or returned.
    pub(super) fn write(&mut self, changes: Changes) -> fjall::Result<()> {
        let folder = Arc::clone(&self.folder);
        let is_promised = |record: &Record| !matches!(record, Record::Gone { .. } | Record::Returned(_));
        let mode = if !changes.iter().any(is_promised) { PersistMode::Buffer } else { PersistMode::SyncData };
        let mut numbered = folder.batch(&self.messages, mode);
        let batch = &mut numbered.batch;
        // A message that comes and goes in one batch is not written.
        let mut gone = HashSet::new();
        let mut deleted = HashSet::new();
        for record in changes.iter() {
            match record {
                Record::Gone { queue, position } => drop(gone.insert((*queue, *position))),
                Record::QueueDeleted { serial } => drop(deleted.insert(*serial)),
                _ => {}
            }
        }
        for record in changes {
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
                Record::QueueDeleted { serial } => self.delete_queue(serial, batch)?,
                Record::Bound(binding) => {
                    let key = format::binding_key(&binding);
                    batch.insert(&self.topology, key, &binding.arguments.as_encoded()[..]);
                }
                Record::PolicySet(policy) => {
                    let key = format::policy_key(&policy.name, policy.is_of_operator);
                    batch.insert(&self.topology, key, format::policy(&policy));
                }
                Record::PolicyCleared { name, is_of_operator } => {
                    batch.remove(&self.topology, format::policy_key(&name, is_of_operator));
                }
                Record::Unbound(binding) => batch.remove(&self.topology, format::binding_key(&binding)),
                Record::Stored(stored) | Record::Returned(stored)
                    if deleted.contains(&stored.queue) || gone.remove(&(stored.queue, stored.position)) => {}
                Record::Stored(stored) | Record::Returned(stored) => self.store(&stored, batch),
                Record::Emptied { queue, .. } if deleted.contains(&queue) => {}
                Record::Emptied { queue, end } => {
                    let key = format::entity_key(format::EMPTIED, queue);
                    batch.insert(&self.topology, key, end.to_be_bytes());
                }
                // Messages that were written before are handled below.
                Record::Gone { .. } => {}
            }
        }
        for (queue, position) in gone {
            self.remove(queue, position, batch);
        }
        numbered.commit()
    }

    fn store(&mut self, stored: &Stored, batch: &mut OwnedWriteBatch) {
        let place = (stored.queue, stored.position);
        let body = stored.message.pack().large.map(|body| {
            // That of a message that has returned is already written.
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

    /// Ends in an orderly way, and records which messages were delivered before.
    pub(super) fn finish(&mut self, redelivered: &[Stored]) -> fjall::Result<()> {
        let mut numbered = self.folder.batch(&self.messages, PersistMode::SyncAll);
        let batch = &mut numbered.batch;
        for stored in redelivered {
            let place = (stored.queue, stored.position);
            let body = self.large.of.get(&place).copied();
            let key = format::message_key(stored.queue, stored.position);
            batch.insert(&self.messages, key, format::message(stored, body, self.began));
        }
        batch.insert(&self.topology, CLEAN, "");
        numbered.commit()?;
        Ok(self.folder.finish()?)
    }
}
