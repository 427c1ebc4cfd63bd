//! The folder of messages: a file `TIME_UUID.QUEUE.msg` each.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read, Write},
    path::Path,
};

const ENDING: &str = ".msg";

/// The queue of a message file; `None` for other files.
pub(super) fn queue_of(name: &str) -> Option<&str> {
    name.split_once('.')?.1.strip_suffix(ENDING)
}

/// The names of a queue's message files, the oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn list(folder: &Path, queue: &str) -> io::Result<Vec<String>> {
    let mut names = names(folder)?;
    names.retain(|name| queue_of(name) == Some(queue));
    names.sort_unstable();
    Ok(names)
}

/// The queues that have message files.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn queues(folder: &Path) -> io::Result<BTreeSet<String>> {
    let names = names(folder)?;
    Ok(names.iter().filter_map(|name| queue_of(name)).map(str::to_owned).collect())
}

/// The names of all files that are text.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Writes a file that nobody sees before it is whole; with `is_durable` it survives a power loss.
///
/// # Errors
/// When it cannot be written.
pub(super) fn put(folder: &Path, name: &str, content: &[u8], is_durable: bool) -> io::Result<()> {
    // No queue's messages end like this.
    let unfinished = folder.join(format!("{name}.unfinished"));
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    if is_durable {
        file.sync_data()?;
    }
    drop(file);
    fs::rename(&unfinished, folder.join(name))?;
    if is_durable {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The content of a message file; `None` when it is gone, or its writer is not done.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(folder: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(folder.join(name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    // kombu writes under a lock. Between creating the file and locking it, the file is empty.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok((!content.is_empty()).then_some(content))
}

/// Renames a file; tells whether it was there.
///
/// # Errors
/// When it cannot be renamed.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<bool> {
    was_there(fs::rename(from, to))
}

/// Removes a file; tells whether it was there.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    was_there(fs::remove_file(path))
}

fn was_there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_listed_by_queue_and_age() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["2_b.q.msg", "1_a.q.msg", "3_c.q.r.msg", "q.msg", "4_d.q.msg.claimed-x", "readme"];
        for name in names {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(list(folder.path(), "q").unwrap(), ["1_a.q.msg", "2_b.q.msg"]);
        assert_eq!(list(folder.path(), "q.r").unwrap(), ["3_c.q.r.msg"]);
        let queues: Vec<_> = queues(folder.path()).unwrap().into_iter().collect();
        assert_eq!(queues, ["q", "q.r"]);
    }

    #[test]
    fn what_is_being_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "1_a.q.msg", b"whole", true).unwrap();
        assert_eq!(read(folder.path(), "1_a.q.msg").unwrap().unwrap(), b"whole");
        fs::write(folder.path().join("2_b.q.msg"), "").unwrap();
        assert_eq!(read(folder.path(), "2_b.q.msg").unwrap(), None, "its writer has not come to write");
        let writer = File::create(folder.path().join("3_c.q.msg")).unwrap();
        writer.lock().unwrap();
        (&writer).write_all(b"half").unwrap();
        assert_eq!(read(folder.path(), "3_c.q.msg").unwrap(), None);
        writer.unlock().unwrap();
        assert_eq!(read(folder.path(), "3_c.q.msg").unwrap().unwrap(), b"half");
        assert_eq!(read(folder.path(), "missing").unwrap(), None);
    }
}
