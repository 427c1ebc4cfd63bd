//! The folder of a broker: the store of all its virtual hosts, and how far it is synced.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};
use uuid::Uuid;

pub(crate) use self::watch::WatchReport;

use self::watch::Watch;
use super::{
    check::{Found, begin_again},
    contents::Contents,
    error::DataError,
    mark::{Mark, MarkFile},
    number, options,
    repair::{Aside, repair},
    room::Room,
};
use crate::sync::{Mutex, MutexGuard};

/// The suffix of the keyspaces in which batches put their numbers.
const NUMBERED: &str = ".messages";

/// The name of the file with what administrators have set.
const ADMINISTRATION: &str = "administration.json";

/// The number of attempts, and the pause between them, to wait for another broker that is about to
/// end.
const LOCK_ATTEMPTS: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The pause between two checks whether the store has flushed, and the longest wait: a slower disk
/// must not stop the other virtual hosts.
const FLUSH_LOOKED_AT: Duration = Duration::from_millis(2);
const LONGEST_FLUSH: Duration = Duration::from_secs(10);

/// The folder of a broker.
pub(crate) struct Folder {
    pub(super) path: PathBuf,
    pub(super) database: Database,
    pub(super) room: Room,
    /// Where damaged parts are set aside, in a repair.
    aside: Mutex<Option<Aside>>,
    progress: Mutex<WriteProgress>,
    /// How much later than the journal the mark may be synced.
    mark_delay: Duration,
    watch: Arc<Watch>,
}

/// The progress of writing.
struct WriteProgress {
    contents: Contents,
    file: MarkFile,
    mark: Mark,
    /// The number of the next batch.
    next: u64,
    /// How many virtual hosts have not ended in an orderly way.
    users: usize,
}

impl Folder {
    /// Opens a folder, or creates it.
    ///
    /// # Errors
    /// When it is damaged, unless it is to be repaired.
    pub(crate) fn open(
        path: &Path,
        room: Room,
        mark_delay: Duration,
        repairs: bool,
    ) -> Result<Arc<Self>, DataError> {
        let unusable = DataError::unusable(path);
        fs::create_dir_all(path).map_err(&unusable)?;
        let lock = lock(path)?;
        let found = Found::look(path)?;
        let mut aside = None;
        if !found.damage.is_empty() && !repairs {
            found.damage.iter().for_each(|words| tracing::error!("{}: {words}", path.display()));
            return Err(DataError::damaged(path, &found.damage));
        }
        if repairs && found.is_used() {
            let mut made = Aside::make(path).map_err(&unusable)?;
            repair(path, &found, room, &mut made)?;
            aside = Some(made);
        }
        let kept = drop_unfinished(&found, aside.is_some()).map_err(&unusable)?;
        if !found.is_used() {
            begin_again(path, &found).map_err(&unusable)?;
        }
        drop(lock);
        let database = open_store(path, room, found.is_used())?;
        let folder = Folder::opened(path, database, (room, mark_delay), found, aside)?;
        if let Some(kept) = kept {
            fs::remove_file(kept).map_err(&unusable)?;
        }
        Ok(Arc::new(folder))
    }

    fn opened(
        path: &Path,
        database: Database,
        (room, mark_delay): (Room, Duration),
        found: Found,
        aside: Option<Aside>,
    ) -> Result<Self, DataError> {
        let unusable = DataError::unusable(path);
        let of_store = |error| DataError::of_reading(path, error);
        let (last, journal) = (found.last(), found.journal());
        let mut contents = Contents::default();
        let mut stored = 0;
        let secret = found.mark.as_ref().map(|(_, mark)| mark.secret);
        for name in database.list_keyspace_names() {
            let keyspace =
                database.keyspace(&name, || options::of_keyspace(&name, room)).map_err(of_store)?;
            contents.keyspaces.insert(keyspace.id(), name.to_string());
            if name.ends_with(NUMBERED) {
                let value = keyspace.get(number::KEY).map_err(of_store)?;
                let number = value.and_then(|value| number::read(number::KEY, &value, secret.as_ref()));
                stored = stored.max(number.unwrap_or_default());
            }
        }
        let confirmed = found.mark.as_ref().filter(|(_, mark)| mark.number > mark.given_up);
        if let Some((_, mark)) = confirmed
            && last.is_none()
            && stored < mark.number
            && aside.is_none()
        {
            let number = mark.number;
            let words = format!("the store ends with batch {stored}, but batch {number} was confirmed");
            tracing::error!("{}: {words}", path.display());
            return Err(DataError::damaged(path, &[words]));
        }
        let newest = last.unwrap_or_default().max(stored);
        let gives_up = aside.is_some() || last.is_some_and(|last| last < stored);
        let (file, mark) = match found.mark {
            Some((mut file, mut mark)) => {
                mark.number = if aside.is_some() { mark.number.max(newest) } else { newest };
                (mark.is_clean, mark.journal) = (false, journal);
                if gives_up {
                    mark.given_up = mark.number;
                }
                file.write(&mark).and_then(|()| file.handle()?.sync_all()).map_err(&unusable)?;
                (file, mark)
            }
            None => {
                let secret = Uuid::new_v4().into_bytes();
                let mark = Mark { number: newest, given_up: newest, is_clean: false, journal, secret };
                (MarkFile::create(path, &mark).map_err(&unusable)?, mark)
            }
        };
        contents.write(path).map_err(&unusable)?;
        let watch = Arc::new(Watch::new(file.handle().map_err(&unusable)?, mark_delay));
        let next = mark.number + 1;
        let progress = Mutex::new(WriteProgress { contents, file, mark, next, users: 0 });
        let (path, aside) = (path.to_owned(), Mutex::new(aside));
        Ok(Folder { path, database, room, aside, progress, mark_delay, watch })
    }

    /// Opens the keyspaces of these names, or creates them.
    pub(super) fn keyspaces<const N: usize>(&self, names: [String; N]) -> fjall::Result<[Keyspace; N]> {
        let mut progress = self.progress.lock();
        let before = progress.contents.keyspaces.len();
        let mut opened = Vec::new();
        for name in names {
            let keyspace = self.database.keyspace(&name, || options::of_keyspace(&name, self.room))?;
            progress.contents.keyspaces.insert(keyspace.id(), name);
            opened.push(keyspace);
        }
        if progress.contents.keyspaces.len() > before {
            progress.contents.write(&self.path)?;
        }
        opened.try_into().map_err(|_| io::Error::other("there are as many keyspaces as names").into())
    }

    /// Begins a batch, which puts its number into this keyspace. Others wait until it is committed
    /// or dropped.
    pub(super) fn batch(&self, numbered: &Keyspace, mode: PersistMode) -> Batch<'_> {
        let mut progress = self.progress.lock();
        // The store switches to another journal on its own.
        while self.path.join(format!("{}.jnl", progress.mark.journal + 1)).exists() {
            progress.mark.journal += 1;
        }
        let mut batch = self.database.batch().durability(Some(mode));
        batch.insert(numbered, number::KEY, number::value(progress.next, &progress.mark.secret));
        Batch { batch, mode, progress, mark_delay: self.mark_delay, watch: &self.watch }
    }

    /// Waits while the store holds far more in memory than its keyspaces may, and is flushing. A
    /// keyspace may hold as much as was configured when it was created, which may be more than now.
    pub(super) fn wait_for_flush(&self, is_flushing: impl Fn() -> bool) {
        let kept = self.database.keyspace_count() as u64 * self.room.memtable;
        let most = kept + 2 * self.room.memtable + 2 * self.room.batch;
        let began = Instant::now();
        while self.database.write_buffer_size() > most && began.elapsed() < LONGEST_FLUSH {
            // It sleeps first, because a flush may be about to begin.
            thread::sleep(FLUSH_LOOKED_AT);
            if !is_flushing() {
                break;
            }
        }
    }

    /// Tells whether damaged parts are being set aside.
    pub(super) fn is_repaired(&self) -> bool {
        self.aside.lock().is_some()
    }

    /// Sets a record aside before it is removed, in a repair.
    pub(super) fn keep_aside(&self, keyspace: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        match &mut *self.aside.lock() {
            Some(aside) => aside.keep_record(keyspace, key, value),
            None => Ok(()),
        }
    }

    /// Decides whether a virtual host with unreadable records may start.
    pub(super) fn judge(&self, vhost: &str, unreadable: usize) -> Result<(), DataError> {
        if unreadable == 0 {
            return Ok(());
        }
        let words = format!("{unreadable} records of the virtual host '{vhost}' cannot be read");
        match &mut *self.aside.lock() {
            Some(aside) => {
                aside.say(&format!("{words}: they are set aside")).map_err(DataError::unusable(&self.path))
            }
            None => {
                tracing::error!("{}: {words}", self.path.display());
                Err(DataError::damaged(&self.path, &[words]))
            }
        }
    }

    /// Ends a repair, when all virtual hosts are restored.
    pub(crate) fn is_whole(&self) -> Result<(), DataError> {
        match self.aside.lock().take() {
            Some(aside) => aside.finish().map_err(DataError::unusable(&self.path)),
            None => Ok(()),
        }
    }

    /// Watches free space and syncs the mark while others write: `tell` is called whenever the
    /// space falls below `limit` or recovers, and when the mark cannot be synced.
    pub(crate) fn watch(
        &self,
        limit: u64,
        tell: impl Fn(WatchReport) + Send + 'static,
    ) -> Result<(), DataError> {
        self.watch.start(&self.path, limit, tell).map_err(DataError::unusable(&self.path))
    }

    /// The virtual hosts that were created while a broker ran, and not deleted.
    ///
    /// # Errors
    /// When the file that lists them cannot be read.
    pub(crate) fn created_vhosts(&self) -> Result<Vec<String>, DataError> {
        created::read(&self.path).map_err(DataError::unusable(&self.path))
    }

    /// Warns of what administrators have set, which this build knows nothing of.
    #[cfg(not(feature = "management"))]
    pub(crate) fn warn_of_administration(&self) {
        if self.path.join(ADMINISTRATION).exists() {
            tracing::warn!(
                "{}: the users, permissions and limits in the file `{ADMINISTRATION}` have no effect without the feature `management`",
                self.path.display()
            );
        }
    }

    /// Notes that a virtual host begins to write.
    pub(super) fn begin(&self) -> io::Result<()> {
        let mut progress = self.progress.lock();
        progress.users += 1;
        // All that there were may have been deleted.
        if progress.mark.is_clean {
            progress.mark.is_clean = false;
            let WriteProgress { file, mark, .. } = &mut *progress;
            file.write(mark)?;
            file.handle()?.sync_all()?;
        }
        Ok(())
    }

    /// Notes that a virtual host has ended in an orderly way; when all have, the folder has.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut progress = self.progress.lock();
        progress.users -= 1;
        if progress.users > 0 {
            return Ok(());
        }
        progress.mark.is_clean = true;
        let WriteProgress { file, mark, .. } = &mut *progress;
        file.write(mark)?;
        file.handle()?.sync_all()
    }
}

/// Virtual hosts that are created and deleted while the broker runs.
#[cfg(feature = "management")]
impl Folder {
    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a virtual host was created; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file that lists them cannot be read or written.
    pub(crate) fn vhost_created(&self, name: &str) -> Result<(), DataError> {
        let add = |names: &mut Vec<String>| {
            if !names.iter().any(|own| own == name) {
                names.push(name.to_owned());
            }
        };
        created::change(&self.path, add).map_err(DataError::unusable(&self.path))
    }

    /// Notes that a virtual host was deleted; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file that lists them cannot be read or written.
    pub(crate) fn vhost_deleted(&self, name: &str) -> Result<(), DataError> {
        let remove = |names: &mut Vec<String>| names.retain(|own| own != name);
        created::change(&self.path, remove).map_err(DataError::unusable(&self.path))
    }

    /// Reads what administrators have set; `None` if they have set nothing yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn administration(&self) -> Result<Option<Vec<u8>>, DataError> {
        match fs::read(self.path.join(ADMINISTRATION)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(DataError::unusable(&self.path)),
        }
    }

    /// The error of a file of what administrators have set that is not what it has to be.
    pub(crate) fn misunderstood(&self, why: &str) -> DataError {
        let why = format!("the file `{ADMINISTRATION}`, which has users and limits, cannot be read: {why}");
        DataError::unusable(&self.path)(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Writes what administrators have set, in place of what was there; it is on disk when this
    /// returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn set_administration(&self, content: &[u8]) -> Result<(), DataError> {
        replaced::replace(&self.path, ADMINISTRATION, content).map_err(DataError::unusable(&self.path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.watch.end();
    }
}

/// A batch in the making.
pub(super) struct Batch<'a> {
    pub(super) batch: OwnedWriteBatch,
    mode: PersistMode,
    progress: MutexGuard<'a, WriteProgress>,
    mark_delay: Duration,
    watch: &'a Watch,
}

impl Batch<'_> {
    /// Writes the batch atomically; if it is to be synced, it is on disk when this returns.
    pub(super) fn commit(mut self) -> fjall::Result<()> {
        // A batch with nothing but its number is not written.
        if self.batch.len() <= 1 {
            return Ok(());
        }
        self.batch.commit()?;
        let progress = &mut *self.progress;
        let number = progress.next;
        progress.next += 1;
        if self.mode != PersistMode::Buffer {
            // The sync includes all earlier batches.
            progress.mark.number = number;
            progress.file.write(&progress.mark)?;
            match self.mark_delay.is_zero() {
                true => progress.file.sync()?,
                false => self.watch.changed(),
            }
        }
        Ok(())
    }
}

/// Checks with the store's own lock file that no other broker uses the folder, until the store
/// takes it.
fn lock(path: &Path) -> Result<File, DataError> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let file = options.open(path.join("lock")).map_err(DataError::unusable(path))?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(DataError::unusable(path)(error)),
        }
    }
    Err(DataError::InUse { path: path.to_owned() })
}

/// Cuts off a batch that was being written when the broker ended. If only the store can tell that
/// it was one, a copy of the journal is kept until it has.
fn drop_unfinished(found: &Found, is_repaired: bool) -> io::Result<Option<PathBuf>> {
    let Some((path, journal)) = found.unfinished().filter(|_| !is_repaired) else { return Ok(None) };
    let mut kept = None;
    if found.last().is_none() && found.mark.as_ref().is_some_and(|(_, mark)| mark.number > 0) {
        let copy = path.with_extension("unfinished");
        fs::copy(path, &copy)?;
        kept = Some(copy);
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(journal.tail.start as u64)?;
    file.sync_all()?;
    tracing::warn!(
        "the last {} octets of {} belong to an incomplete batch, of which nothing was confirmed, and are dropped",
        journal.tail.len(),
        path.display()
    );
    Ok(kept)
}

fn open_store(path: &Path, room: Room, is_used: bool) -> Result<Database, DataError> {
    // The store panics on some kinds of damage.
    let opened = catch_unwind(AssertUnwindSafe(|| options::of_store(path, room).open()));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) if is_used => Err(DataError::of_reading(path, error)),
        Ok(Err(error)) => Err(DataError::of(path, error)),
        Err(_) => Err(DataError::damaged(path, &["what is stored there cannot be read".to_owned()])),
    }
}

mod created;
#[cfg(any(test, feature = "management"))]
mod replaced;
#[cfg(all(test, shuttle))]
mod schedules;
mod watch;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_delay_the_mark_is_on_the_disk_when_a_batch_is() {
        for (delay, is_synced) in [(Duration::ZERO, true), (Duration::from_millis(50), false)] {
            let path = tempfile::tempdir().unwrap();
            let folder = Folder::open(path.path(), Room::of(1 << 20), delay, false).unwrap();
            let [numbered] = folder.keyspaces(["v.messages".to_owned()]).unwrap();
            for key in ["one", "two"] {
                let mut batch = folder.batch(&numbered, PersistMode::SyncData);
                batch.batch.insert(&numbered, key, "");
                batch.commit().unwrap();
                assert_eq!(folder.progress.lock().file.is_synced(), is_synced, "{delay:?}");
            }
        }
    }
}
