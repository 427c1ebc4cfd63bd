//! The examination of single keyspaces, and the creation of replacements for unreadable ones.

use std::{
    fs, io,
    os::unix::fs::symlink,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use fjall::{Database, Keyspace, PersistMode};

use super::{
    check::{KEYSPACES, VERSION, keyspace},
    contents::Contents,
    options,
    room::Room,
};

/// A record: key and value.
type Record = (Vec<u8>, Vec<u8>);

/// A folder with keyspaces that replace others.
pub(super) struct Rebuilt {
    folder: PathBuf,
}

impl Rebuilt {
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a keyspace in it.
    pub(super) fn keyspace(&self, number: u64) -> PathBuf {
        keyspace(&self.folder, number)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }
}

/// Creates all keyspaces that there should be, empty, each under its number.
pub(super) fn fresh(aside: &Path, contents: &Contents, room: Room) -> fjall::Result<Rebuilt> {
    let folder = aside.join("fresh");
    let database = options::of_store(&folder, room).worker_threads(1).open()?;
    let last = contents.keyspaces.keys().next_back().copied().unwrap_or_default();
    for number in 1..=last {
        let name = contents.keyspaces.get(&number).cloned().unwrap_or(format!("unused.{number}"));
        let made = database.keyspace(&name, || options::of_keyspace(&name, room))?;
        if made.id() != number {
            return Err(io::Error::other("keyspaces cannot be made under their numbers").into());
        }
    }
    Ok(Rebuilt { folder })
}

/// Puts records into a new keyspace.
pub(super) fn fill(fresh: &Rebuilt, name: &str, records: Vec<Record>, room: Room) -> fjall::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let database = options::of_store(&fresh.folder, room).worker_threads(1).open()?;
    let keyspace = database.keyspace(name, || options::of_keyspace(name, room))?;
    // They go into one batch, so that the journals' records are newer than each of them.
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    for (key, value) in records {
        batch.insert(&keyspace, key, value);
    }
    batch.commit()?;
    keyspace.rotate_memtable_and_wait()
}

/// Tells whether the list of all keyspaces is readable.
pub(super) fn is_list_whole(folder: &Path, aside: &Path) -> bool {
    with_links(&[(folder, 0)], aside, |_| Ok(())).is_some()
}

/// Reads a whole keyspace; the list of keyspaces may be in another folder.
///
/// # Errors
/// The readable records, when not all are readable.
pub(super) fn examine(
    folder: &Path,
    list: &Path,
    aside: &Path,
    number: u64,
    name: &str,
) -> Result<(), Vec<Record>> {
    let mut examined = Err(Vec::new());
    // An error means that the keyspace is unreadable.
    let _ = with_links(&[(list, 0), (folder, number)], aside, |database| {
        let keyspace = database.keyspace(name, || options::of_keyspace(name, Room::of(0)))?;
        // The store gives a keyspace that it does not know another number.
        if keyspace.id() == number {
            examined = read_all(&keyspace);
        }
        Ok(())
    });
    examined
}

/// Reads a whole keyspace.
///
/// # Errors
/// The records that are readable from the front and from the back, when not all are.
fn read_all(keyspace: &Keyspace) -> Result<(), Vec<Record>> {
    if keyspace.iter().all(|guard| guard.into_inner().is_ok()) {
        return Ok(());
    }
    let own = |guard: fjall::Guard| guard.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec()));
    let mut readable: Vec<Record> = keyspace.iter().map(own).map_while(Result::ok).collect();
    readable.extend(keyspace.iter().rev().map(own).map_while(Result::ok));
    readable.sort();
    readable.dedup_by(|one, other| one.0 == other.0);
    Err(readable)
}

/// Opens a store with these keyspaces of other folders and without a journal; `None` when that
/// fails.
fn with_links(
    links: &[(&Path, u64)],
    aside: &Path,
    act: impl FnOnce(&Database) -> fjall::Result<()>,
) -> Option<()> {
    let probe = aside.join("probe");
    let made = make_links(&probe, links);
    let opened = made.is_ok().then(|| {
        // The store panics on some kinds of damage.
        catch_unwind(AssertUnwindSafe(|| {
            let database = options::of_store(&probe, Room::of(0)).worker_threads_unchecked(0).open()?;
            act(&database)
        }))
    });
    let removed = fs::remove_dir_all(&probe);
    if let Err(error) = made.and(removed) {
        tracing::warn!(%error, "a keyspace cannot be examined");
        return None;
    }
    opened?.ok()?.ok()
}

fn make_links(probe: &Path, links: &[(&Path, u64)]) -> io::Result<()> {
    fs::create_dir_all(probe.join(KEYSPACES))?;
    fs::write(probe.join(VERSION), super::check::STORE_VERSION)?;
    fs::write(probe.join("lock"), "")?;
    // An empty journal makes the store read its keyspaces; without one it takes them for empty.
    fs::write(probe.join("0.jnl"), "")?;
    for (folder, number) in links {
        symlink(fs::canonicalize(keyspace(folder, *number))?, keyspace(probe, *number))?;
    }
    Ok(())
}
