//! Keyspaces that are examined one by one, and such as take the place of those that cannot be read.

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

/// A record as it was read.
type Record = (Vec<u8>, Vec<u8>);

/// A folder with keyspaces that take the place of others.
pub(super) struct Rebuilt {
    folder: PathBuf,
}

impl Rebuilt {
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a keyspace of it is.
    pub(super) fn keyspace(&self, number: u64) -> PathBuf {
        keyspace(&self.folder, number)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }
}

/// Makes all keyspaces there are to be, empty, each under its number.
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

/// Puts records into a keyspace that was made.
pub(super) fn fill(fresh: &Rebuilt, name: &str, records: Vec<Record>, room: Room) -> fjall::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let database = options::of_store(&fresh.folder, room).worker_threads(1).open()?;
    let keyspace = database.keyspace(name, || options::of_keyspace(name, room))?;
    // One batch, for what the journals have is newer than each of them.
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    for (key, value) in records {
        batch.insert(&keyspace, key, value);
    }
    batch.commit()?;
    keyspace.rotate_memtable_and_wait()
}

/// Tells whether the list of all keyspaces can be read.
pub(super) fn is_list_whole(folder: &Path, aside: &Path) -> bool {
    with_links(&[(folder, 0)], aside, |_| Ok(())).is_some()
}

/// Reads all of a keyspace, of which the list is in another folder.
///
/// # Errors
/// What can be read, when not all can.
pub(super) fn examine(
    folder: &Path,
    list: &Path,
    aside: &Path,
    number: u64,
    name: &str,
) -> Result<(), Vec<Record>> {
    let mut examined = Err(Vec::new());
    // What goes wrong is that it cannot be read.
    let _ = with_links(&[(list, 0), (folder, number)], aside, |database| {
        let keyspace = database.keyspace(name, || options::of_keyspace(name, Room::of(0)))?;
        // One that the store does not know is another.
        if keyspace.id() == number {
            examined = read_all(&keyspace);
        }
        Ok(())
    });
    examined
}

/// Reads all of a keyspace.
///
/// # Errors
/// From the first on and from the last on what can be read, when not all can.
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

/// Opens a store that has these keyspaces of other folders and no journal; `None` when that does
/// not go well.
fn with_links(
    links: &[(&Path, u64)],
    aside: &Path,
    act: impl FnOnce(&Database) -> fjall::Result<()>,
) -> Option<()> {
    let probe = aside.join("probe");
    let made = make_links(&probe, links);
    let opened = made.is_ok().then(|| {
        // The store takes some damage for a mistake of its own.
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
    // With a journal the store looks how far its keyspaces are; without one it takes them for
    // empty.
    fs::write(probe.join("0.jnl"), "")?;
    for (folder, number) in links {
        symlink(fs::canonicalize(keyspace(folder, *number))?, keyspace(probe, *number))?;
    }
    Ok(())
}
