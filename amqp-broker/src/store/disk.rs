//! The disk of a virtual host, as those who make changes see it.

use std::{io, path::Path, path::PathBuf, sync::Arc, thread};

use fjall::Database;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::core::{
    journal::{Record, Stored},
    vhost::Vhost,
};

use super::{files::Files, format::fnv};

/// From this many bytes on that wait to be written, publishers are held back.
const TOO_MUCH: usize = 64 << 20;

/// The longest part of a file's name that a virtual host's name gives as it is.
const LONGEST_NAME: usize = 150;

/// Why there is no broker that survives.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Another broker has the folder.
    #[error("{} is in use by another broker", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// What is in the folder cannot be read, or nothing can be written there.
    #[error("cannot use {}: {source}", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What the disk tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All changes up to this one are on disk, and whether few enough are waiting.
    Written { change: u64, has_room: bool },
    /// Nothing will be written any more.
    Failed,
}

/// The disk of a virtual host.
///
/// # On drop
/// What waits is still written, by the thread that writes.
pub(crate) struct Disk {
    queue: Arc<Queue>,
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// The last change that is on disk.
    written: watch::Sender<u64>,
    /// Whether all is written and the files are closed.
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    records: Vec<Record>,
    bytes: usize,
    /// The number of the last change among them.
    change: u64,
    ends: bool,
    /// Whether a test wants nothing to be written.
    is_paused: bool,
    /// Whether a test wants the next write to fail.
    fails: bool,
    /// What a clean end adds.
    redelivered: Option<Vec<Stored>>,
}

impl Disk {
    /// Opens the folder, making it where there is none.
    pub(crate) fn open(path: &Path) -> Result<Database, DataError> {
        std::fs::create_dir_all(path)
            .map_err(|source| DataError::Unusable { path: path.to_owned(), source })?;
        Database::builder(path).open().map_err(|error| failed(path, error))
    }

    /// Puts a virtual host back as it was and keeps what changes from now on. What comes of that is told to `tell`, by a
    /// thread that ends some time after the disk is dropped.
    pub(crate) fn restore(
        database: &Database,
        path: &Path,
        vhost: &mut Vhost,
    ) -> Result<(Disk, Writer), DataError> {
        let opened = Files::open(database, &file_name(vhost.name()));
        let restored = opened.and_then(|mut files| files.restore(vhost).map(|()| files));
        let files = restored.map_err(|error| failed(path, error))?;
        let queue = Arc::new(Queue::default());
        Ok((Disk { queue: Arc::clone(&queue) }, Writer { queue, files }))
    }

    /// Adds changes, of which the last has this number; tells whether there is room for more.
    pub(crate) fn add(&self, records: Vec<Record>, change: u64) -> bool {
        let mut waiting = self.queue.waiting.lock();
        waiting.bytes += records.iter().map(size).sum::<usize>();
        waiting.change = change;
        waiting.records.extend(records);
        let has_room = waiting.bytes <= TOO_MUCH;
        drop(waiting);
        self.queue.more.notify_one();
        has_room
    }

    /// Waits until all changes that were added are on disk, or never will be.
    pub(crate) async fn flushed(&self) {
        let change = self.queue.waiting.lock().change;
        let mut written = self.queue.written.subscribe();
        let mut closed = self.queue.closed.subscribe();
        tokio::select! {
            _ = written.wait_for(|written| *written >= change) => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    /// Ends cleanly, and waits until the files are closed.
    pub(crate) async fn close(&self, redelivered: Vec<Stored>) {
        {
            let mut waiting = self.queue.waiting.lock();
            waiting.ends = true;
            waiting.redelivered.get_or_insert(redelivered);
        }
        self.queue.more.notify_one();
        let mut closed = self.queue.closed.subscribe();
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

#[cfg(test)]
impl Disk {
    /// Writes nothing until it is told to again.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.queue.waiting.lock().is_paused = is_paused;
        self.queue.more.notify_one();
    }

    /// Fails when it is to write next.
    pub(crate) fn fail(&self) {
        self.queue.waiting.lock().fails = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue.waiting.lock().ends = true;
        self.queue.more.notify_one();
    }
}

/// What writes.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    files: Files,
}

impl Writer {
    /// Starts the thread that writes.
    pub(crate) fn start(self, tell: impl Fn(Progress) + Send + 'static) -> io::Result<()> {
        let Writer { queue, files } = self;
        let builder = thread::Builder::new().name("amqp-broker disk".to_owned());
        builder
            .spawn(move || {
                if let Err(error) = write(&queue, files, &tell) {
                    tracing::error!(%error, "the disk failed: nothing is kept any more");
                    tell(Progress::Failed);
                }
                queue.closed.send_replace(true);
            })
            .map(drop)
    }
}

/// Writes until it ends. The files are closed when this returns.
fn write(queue: &Queue, mut files: Files, tell: &impl Fn(Progress)) -> fjall::Result<()> {
    loop {
        let mut waiting = queue.waiting.lock();
        while waiting.is_paused || waiting.records.is_empty() && !waiting.ends {
            queue.more.wait(&mut waiting);
        }
        let (records, change) = (std::mem::take(&mut waiting.records), waiting.change);
        waiting.bytes = 0;
        if records.is_empty() {
            let redelivered = waiting.redelivered.take();
            drop(waiting);
            return redelivered.map_or(Ok(()), |redelivered| files.finish(&redelivered));
        }
        let fails = waiting.fails;
        drop(waiting);
        if fails {
            return Err(io::Error::other("a test wants it so").into());
        }
        files.write(records)?;
        let has_room = queue.waiting.lock().bytes <= TOO_MUCH;
        tell(Progress::Written { change, has_room });
        queue.written.send_replace(change);
    }
}

fn failed(path: &Path, error: fjall::Error) -> DataError {
    let path = path.to_owned();
    match error {
        fjall::Error::Locked => DataError::InUse { path },
        other => DataError::Unusable { path, source: io::Error::other(other) },
    }
}

/// About how much memory a change takes that waits.
fn size(record: &Record) -> usize {
    match record {
        Record::Stored(stored) => 200 + stored.message.body_len(),
        _ => 200,
    }
}

/// The name of a virtual host as a part of a file's name: any name gives another.
fn file_name(vhost: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(octet).to_string(),
        other => format!("_{other:02x}"),
    };
    let mut name: String = vhost.bytes().map(octet).collect();
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME);
        name = format!("{name}.{:016x}", fnv(vhost.as_bytes()));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_gives_another_name_of_a_file() {
        assert_eq!(["/", "a/b", "A", "_2f", ""].map(file_name), ["_2f", "a_2fb", "_41", "_5f2f", ""]);
        let long = ["x".repeat(200), "x".repeat(201)].map(|name| file_name(&name));
        assert!(long[0] != long[1] && long[0].len() < 180);
    }
}
