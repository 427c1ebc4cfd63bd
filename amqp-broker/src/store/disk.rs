//! The disk of a virtual host, as operations see it.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::{
    core::{
        journal::records::{Changes, Stored},
        vhost::Vhost,
    },
    failure::Failure,
};

use super::{
    error::{DataError, cause},
    files::{Files, Restored, format::fnv},
    folder::Folder,
    room::Room,
};

/// The longest part of a file name that is taken unchanged from a virtual host's name.
const LONGEST_NAME: usize = 150;

/// A report of the disk.
#[derive(Debug)]
pub(crate) enum DiskReport {
    /// All changes up to this one are on disk; `has_room` says whether few enough wait.
    Written { change: u64, has_room: bool },
    /// Nothing more will be written.
    Failed(Failure),
}

/// The disk of a virtual host.
///
/// # On drop
/// The writing thread still writes the changes that wait.
pub(crate) struct Disk {
    queue: Arc<Queue>,
}

/// The changes that wait to be written.
struct Queue {
    waiting: Mutex<Backlog>,
    more: Condvar,
    /// How many bytes wait or are being written.
    backlog: AtomicU64,
    /// While this many bytes wait, publishers are held back.
    room: u64,
    /// The most bytes that are written together.
    batch: u64,
    /// The last change that is on disk.
    written: watch::Sender<u64>,
    /// Whether everything is written and the files are closed.
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Backlog {
    added: VecDeque<Added>,
    /// The number of the last change that was added.
    change: u64,
    ends: bool,
    /// Whether a test has stopped the writing.
    is_paused: bool,
    /// Whether a test makes the next write fail.
    fails: bool,
    /// The messages that an orderly end marks as redelivered.
    redelivered: Option<Vec<Stored>>,
}

/// Changes that are written together or not at all, with the number of the last.
#[derive(Default)]
struct Added {
    changes: Changes,
    change: u64,
}

impl Disk {
    /// Restores a virtual host, and writes its changes from now on. `tell` gets the reports, on a
    /// thread that ends some time after the disk is dropped.
    ///
    /// # Errors
    /// When anything cannot be read.
    pub(crate) fn restore(
        folder: &Arc<Folder>,
        vhost: &mut Vhost,
    ) -> Result<(Disk, Writer, Restored), DataError> {
        let path = &folder.path;
        let of_reading = |error| DataError::of_reading(path, error);
        let mut files = Files::open(folder, &file_name(vhost.name())).map_err(of_reading)?;
        let restored = files.restore(vhost).map_err(of_reading)?;
        folder.judge(vhost.name(), restored.unreadable)?;
        let queue = Arc::new(Queue::new(folder.room));
        Ok((Disk { queue: Arc::clone(&queue) }, Writer { queue, files, folder: path.clone() }, restored))
    }

    /// Adds changes, the last of which has this number; returns whether there is room for more.
    /// They are written as one batch of the store, which is atomic however large it is, because
    /// they may be a transaction.
    pub(crate) fn add(&self, changes: Changes, change: u64) -> bool {
        self.queue.backlog.fetch_add(changes.weight(), Ordering::Relaxed);
        let mut waiting = self.queue.waiting.lock();
        waiting.change = change;
        waiting.added.push_back(Added { changes, change });
        drop(waiting);
        self.queue.more.notify_one();
        self.backlog() <= self.queue.room
    }

    /// How many bytes wait or are being written.
    pub(crate) fn backlog(&self) -> u64 {
        self.queue.backlog.load(Ordering::Relaxed)
    }

    /// Waits until all added changes are on disk, or never will be.
    pub(crate) async fn flushed(&self) {
        let change = self.queue.waiting.lock().change;
        let mut written = self.queue.written.subscribe();
        let mut closed = self.queue.closed.subscribe();
        tokio::select! {
            _ = written.wait_for(|written| *written >= change) => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    /// Closes the store in an orderly way, and waits until the files are closed.
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
    /// Stops or resumes writing.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.queue.waiting.lock().is_paused = is_paused;
        self.queue.more.notify_one();
    }

    /// Makes the next write fail.
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

impl Queue {
    fn new(room: Room) -> Self {
        Queue {
            waiting: Mutex::default(),
            more: Condvar::new(),
            backlog: AtomicU64::new(0),
            room: room.backlog,
            batch: room.batch,
            written: watch::Sender::default(),
            closed: watch::Sender::default(),
        }
    }
}

impl Backlog {
    /// Takes the changes to be written next.
    fn take(&mut self, batch: u64) -> Added {
        let mut taken = self.added.pop_front().unwrap_or_default();
        while taken.changes.weight() < batch
            && let Some(mut next) = self.added.pop_front()
        {
            taken.changes.append(&mut next.changes);
            taken.change = next.change;
        }
        taken
    }
}

/// Writes the changes.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    files: Files,
    folder: PathBuf,
}

impl Writer {
    /// Starts the writing thread.
    pub(crate) fn start(self, tell: impl Fn(DiskReport) + Send + 'static) -> io::Result<()> {
        let Writer { queue, files, folder } = self;
        let builder = thread::Builder::new().name("amqp-broker disk".to_owned());
        builder
            .spawn(move || {
                if let Err(error) = write(&queue, files, &tell) {
                    let source = Arc::new(cause(&folder, error));
                    tell(DiskReport::Failed(Failure::Disk { path: folder, source }));
                }
                queue.closed.send_replace(true);
            })
            .map(drop)
    }
}

/// Writes until the end. The files are closed when this returns.
fn write(queue: &Queue, mut files: Files, tell: &impl Fn(DiskReport)) -> fjall::Result<()> {
    loop {
        let mut waiting = queue.waiting.lock();
        while waiting.is_paused || waiting.added.is_empty() && !waiting.ends {
            queue.more.wait(&mut waiting);
        }
        if waiting.added.is_empty() {
            let redelivered = waiting.redelivered.take();
            drop(waiting);
            return redelivered.map_or(Ok(()), |redelivered| files.finish(&redelivered));
        }
        let Added { changes, change } = waiting.take(queue.batch);
        let bytes = changes.weight();
        let fails = waiting.fails;
        drop(waiting);
        if fails {
            return Err(io::Error::other("a test ordered it").into());
        }
        files.write(changes)?;
        let backlog = queue.backlog.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        tell(DiskReport::Written { change, has_room: backlog <= queue.room });
        queue.written.send_replace(change);
        files.wait_for_flush();
    }
}

/// A virtual host's name as a part of a file name; different names give different parts.
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
    use crate::core::journal::records::Record;

    const MOST: u64 = 1 << 20;

    #[test]
    fn what_waits_is_written_in_parts_that_are_not_much_larger_than_they_may_be() {
        let mut waiting = Backlog::default();
        let mut one = Changes::default();
        one.push(Record::QueueDeleted { serial: 1 });
        let half = MOST.div_ceil(2 * one.weight());
        for change in 1..=5 {
            let mut changes = Changes::default();
            (0..half).for_each(|serial| changes.push(Record::QueueDeleted { serial }));
            waiting.added.push_back(Added { changes, change });
        }
        let taken: Vec<_> = (0..3)
            .map(|_| waiting.take(MOST))
            .map(|added| (added.change, added.changes.iter().count() as u64 / half))
            .collect();
        assert_eq!(taken, [(2, 2), (4, 2), (5, 1)]);
    }

    #[test]
    fn each_name_gives_another_name_of_a_file() {
        assert_eq!(["/", "a/b", "A", "_2f", ""].map(file_name), ["_2f", "a_2fb", "_41", "_5f2f", ""]);
        let long = ["x".repeat(200), "x".repeat(201)].map(|name| file_name(&name));
        assert!(long[0] != long[1] && long[0].len() < 180);
    }
}
