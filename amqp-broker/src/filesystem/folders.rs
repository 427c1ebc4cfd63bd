//! The folder of messages: a file `TIME_UUID.QUEUE.msg` each.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read, Write},
    path::Path,
    time::SystemTime,
};

const ENDING: &str = ".msg";

/// The content of a message file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A message, or what else somebody has written.
    Whole(Vec<u8>),
    /// Its writer is not done, and has written at this time.
    Unfinished(SystemTime),
    /// There is no such file.
    Missing,
}

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

/// The content of a message file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(folder: &Path, name: &str) -> io::Result<Content> {
    let mut file = match File::open(folder.join(name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::Missing),
        file => file?,
    };
    // kombu writes under a lock. Between creating the file and locking it, the file is empty.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return unfinished(&file),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    if content.is_empty() { unfinished(&file) } else { Ok(Content::Whole(content)) }
}

fn unfinished(file: &File) -> io::Result<Content> {
    Ok(Content::Unfinished(file.metadata()?.modified()?))
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
    fn a_file_is_whole_when_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1_a.q.msg");
        fs::write(&path, "before").unwrap();
        let mut before = File::open(&path).unwrap();
        put(folder.path(), "1_a.q.msg", b"whole", false).unwrap();
        let mut content = String::new();
        before.read_to_string(&mut content).unwrap();
        assert_eq!(content, "before", "another file took its place");
        assert_eq!(names(folder.path()).unwrap(), ["1_a.q.msg"]);
    }

    #[test]
    fn what_is_being_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "1_a.q.msg", b"whole", true).unwrap();
        let whole = |content: &[u8]| Content::Whole(content.to_vec());
        let is_unfinished = |name| matches!(read(folder.path(), name).unwrap(), Content::Unfinished(_));
        assert_eq!(read(folder.path(), "1_a.q.msg").unwrap(), whole(b"whole"));
        fs::write(folder.path().join("2_b.q.msg"), "").unwrap();
        assert!(is_unfinished("2_b.q.msg"), "its writer has not come to write");
        let writer = File::create(folder.path().join("3_c.q.msg")).unwrap();
        writer.lock().unwrap();
        (&writer).write_all(b"half").unwrap();
        assert!(is_unfinished("3_c.q.msg"));
        writer.unlock().unwrap();
        assert_eq!(read(folder.path(), "3_c.q.msg").unwrap(), whole(b"half"));
        assert_eq!(read(folder.path(), "missing").unwrap(), Content::Missing);
    }
}
