//! The mark of how far the journal is synced. It is kept outside the journal: if the journal ends
//! before the mark, confirmed messages are lost.
//!
//! The file has two slots, which are written alternately, so that one is intact at any moment.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::{Buf, BufMut};
use xxhash_rust::xxh3::xxh3_64;

use super::number::Secret;

/// The name of the file.
const NAME: &str = "synced";

const MAGIC: &[u8; 8] = b"AMQPSYNC";
/// The length of a slot without its checksum, and the distance between slots: each has a sector.
const LENGTH: usize = 8 + 8 + 8 + 8 + 8 + 16 + 1;
const SLOT: u64 = 512;

/// The mark of how far the journal is synced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    /// The last batch that is known to be on disk.
    pub(super) number: u64,
    /// Batches up to this one may be missing: a repair has given them up.
    pub(super) given_up: u64,
    /// Set when nothing comes after that batch, because the end was orderly.
    pub(super) is_clean: bool,
    /// The number of the journal with that batch, or of an earlier one.
    pub(super) journal: u64,
    pub(super) secret: Secret,
}

/// The file with the mark.
pub(super) struct MarkFile {
    file: File,
    /// How often it was written.
    turn: u64,
    /// The last of these writes that is known to be on disk.
    synced: u64,
}

impl MarkFile {
    /// Creates the file; its contents are on disk when this returns, but not yet its name. It gets
    /// its name when it is whole: one that cannot be read would be taken for damage.
    pub(super) fn create(folder: &Path, mark: &Mark) -> io::Result<Self> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
        let new = folder.join(format!("{NAME}.new"));
        let file = options.open(&new)?;
        file.set_len(2 * SLOT)?;
        let mut created = MarkFile { file, turn: 0, synced: 0 };
        created.write(mark)?;
        created.write(mark)?;
        created.file.sync_all()?;
        created.synced = created.turn;
        fs::rename(new, folder.join(NAME))?;
        Ok(created)
    }

    /// Opens the file, if there is one.
    ///
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) when neither slot can be read.
    pub(super) fn open(folder: &Path) -> io::Result<Option<(Self, Mark)>> {
        let file = match OpenOptions::new().read(true).write(true).open(folder.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let slots = [0, SLOT].map(|at| read(&file, at).ok().flatten());
        let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        let (turn, mark) = newest.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((MarkFile { file, turn, synced: 0 }, mark)))
    }

    /// Writes the mark without syncing it. The caller writes only what is true already.
    pub(super) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        self.turn += 1;
        let mut slot = Vec::with_capacity(LENGTH + 8);
        slot.put_slice(MAGIC);
        slot.put_u64(self.turn);
        slot.put_u64(mark.number);
        slot.put_u64(mark.given_up);
        slot.put_u64(mark.journal);
        slot.put_slice(&mark.secret);
        slot.put_u8(mark.is_clean.into());
        slot.put_u64(xxh3_64(&slot));
        self.file.write_all_at(&slot, self.turn % 2 * SLOT)
    }

    /// Syncs the last written mark.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.turn {
            self.file.sync_data()?;
            self.synced = self.turn;
        }
        Ok(())
    }

    /// Tells whether the last written mark is known to be on disk.
    #[cfg(test)]
    pub(super) fn is_synced(&self) -> bool {
        self.synced == self.turn
    }

    /// A handle for syncing the file from another thread.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn read(file: &File, at: u64) -> io::Result<Option<(u64, Mark)>> {
    let mut slot = [0; LENGTH + 8];
    file.read_exact_at(&mut slot, at)?;
    Ok(decode(&slot))
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let (said, mut checksum) = slot.split_at_checked(LENGTH)?;
    let mut rest = said.strip_prefix(MAGIC)?;
    if checksum.try_get_u64().ok()? != xxh3_64(said) {
        return None;
    }
    let turn = rest.try_get_u64().ok()?;
    let (number, given_up) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
    let journal = rest.try_get_u64().ok()?;
    let secret = *rest.first_chunk::<16>()?;
    let is_clean = *rest.last()? != 0;
    Some((turn, Mark { number, given_up, is_clean, journal, secret }))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn mark(number: u64) -> Mark {
        Mark { number, given_up: 3, is_clean: number == 2, journal: number / 2, secret: [7; 16] }
    }

    #[test]
    fn who_looks_while_it_is_created_finds_it_whole_or_not_at_all() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            thread::scope(|scope| {
                let creation = scope.spawn(|| MarkFile::create(folder.path(), &mark(0)).unwrap());
                while !creation.is_finished() {
                    let found = MarkFile::open(folder.path()).unwrap();
                    assert!(found.is_none_or(|(_, read)| read == mark(0)));
                }
            });
        }
    }

    #[test]
    fn the_last_that_was_written_whole_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(MarkFile::open(folder.path()).unwrap().is_none());
        let mut file = MarkFile::create(folder.path(), &mark(0)).unwrap();
        for number in 1..=4 {
            file.write(&mark(number)).unwrap();
            let (_, read) = MarkFile::open(folder.path()).unwrap().unwrap();
            assert_eq!(read, mark(number));
        }
        let torn = OpenOptions::new().write(true).open(folder.path().join(NAME)).unwrap();
        torn.write_all_at(b"?", file.turn % 2 * SLOT + 20).unwrap();
        let (_, read) = MarkFile::open(folder.path()).unwrap().unwrap();
        assert_eq!(read, mark(3), "the one before");
        torn.set_len(10).unwrap();
        assert_eq!(MarkFile::open(folder.path()).err().unwrap().kind(), io::ErrorKind::InvalidData);
    }
}
