//! Claimed messages: they stay in their folder as `NAME.claimed-READER`, which no reader of kombu
//! takes for a message. Each reader holds a lock on a file of its own as long as it lives, by which
//! others see when its claims are to be returned.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::folders;

const MARK: &str = ".claimed-";

/// A reader of messages.
///
/// # On drop
/// Its claims may be returned by others.
#[derive(Debug)]
pub(super) struct Reader {
    id: Uuid,
    path: PathBuf,
    /// Locked as long as it lives.
    _lock: File,
}

impl Reader {
    /// Begins to read.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub(super) fn begin(control: &Path) -> io::Result<Self> {
        fs::create_dir_all(control)?;
        let id = Uuid::new_v4();
        let path = lock_path(control, &id.to_string());
        let lock = OpenOptions::new().write(true).create_new(true).open(&path)?;
        lock.lock()?;
        Ok(Reader { id, path, _lock: lock })
    }

    /// The name of a message file while this reader has claimed it.
    pub(super) fn claimed(&self, name: &str) -> String {
        format!("{name}{MARK}{}", self.id)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // If it stays, the next who finds a claim of this reader removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock_path(control: &Path, reader: &str) -> PathBuf {
    control.join(format!("{reader}.reader"))
}

/// Tells whether a file is a claimed message.
pub(super) fn is_claim(name: &str) -> bool {
    name.rsplit_once(MARK).is_some_and(|(_, reader)| Uuid::try_parse(reader).is_ok())
}

/// The names of messages that readers have claimed who are gone, each with the name it has now.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn orphans(folder: &Path, control: &Path) -> io::Result<Vec<(String, String)>> {
    let mut orphans = Vec::new();
    for claimed in folders::names(folder)? {
        if let Some((name, reader)) = claimed.rsplit_once(MARK)
            && Uuid::try_parse(reader).is_ok()
            && is_gone(control, reader)?
        {
            orphans.push((name.to_owned(), claimed));
        }
    }
    // They return to the front in the reverse of their order.
    orphans.sort_unstable();
    Ok(orphans)
}

/// Tells whether a reader has ended, in whatever way: the system unlocks its file.
fn is_gone(control: &Path, reader: &str) -> io::Result<bool> {
    let path = lock_path(control, reader);
    let lock = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        lock => lock?,
    };
    match lock.try_lock() {
        Ok(()) => {
            folders::remove(&path)?;
            Ok(true)
        }
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_readers_that_are_gone_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (data, control) = (folder.path(), folder.path().join("control"));
        let (one, other) = (Reader::begin(&control).unwrap(), Reader::begin(&control).unwrap());
        for (name, reader) in [("1_a.q.msg", &one), ("2_b.q.msg", &other), ("3_c.q.msg", &other)] {
            fs::write(data.join(reader.claimed(name)), "x").unwrap();
        }
        assert_eq!(orphans(data, &control).unwrap(), []);
        let left = other.claimed("2_b.q.msg");
        drop(other);
        let found = orphans(data, &control).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("2_b.q.msg".to_owned(), left));
        assert_eq!(fs::read_dir(&control).unwrap().count(), 1, "the lock of the one that lives");
        drop(one);
        assert_eq!(fs::read_dir(&control).unwrap().count(), 0, "it takes its lock with it");
    }
}
