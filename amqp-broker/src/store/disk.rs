//! The disk of a virtual host, as operations see it.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    core::journal::records::{Changes, Stored},
    failure::Failure,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
        watch,
    },
};

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
/// The writer still writes the changes that wait.
pub(crate) struct Disk {
    queue: Arc<DiskQueue>,
}

/// The changes that wait to be written.
pub(crate) struct DiskQueue {
    pub(crate) waiting: Mutex<Backlog>,
    /// Wakes a writer that is a thread.
    pub(crate) more: Condvar,
    /// Wakes a writer that is a task.
    #[cfg(feature = "simulation")]
    pub(crate) noticed: tokio::sync::Notify,
    /// How many bytes wait or are being written.
    pub(crate) backlog: AtomicU64,
    /// While this many bytes wait, publishers are held back.
    pub(crate) room: u64,
    /// The most bytes that are written together.
    pub(crate) batch: u64,
    /// The last change that is on disk.
    pub(crate) written: watch::Sender<u64>,
    /// Whether everything is written and the files are closed.
    pub(crate) closed: watch::Sender<bool>,
}

#[derive(Default)]
pub(crate) struct Backlog {
    pub(crate) added: VecDeque<Added>,
    /// The number of the last change that was added.
    change: u64,
    pub(crate) ends: bool,
    /// Whether a test has stopped the writing.
    pub(crate) is_paused: bool,
    /// Whether a test makes the next write fail.
    pub(crate) fails: bool,
    /// The messages that an orderly end marks as redelivered.
    pub(crate) redelivered: Option<Vec<Stored>>,
}

/// Changes that are written together or not at all, with the number of the last.
#[derive(Default)]
pub(crate) struct Added {
    pub(crate) changes: Changes,
    pub(crate) change: u64,
}

impl Disk {
    /// A disk, and the queue from which its changes are written. Publishers are held back while
    /// more than `room` bytes wait; `batch` bytes are written together.
    pub(crate) fn new(room: u64, batch: u64) -> (Self, Arc<DiskQueue>) {
        let queue = Arc::new(DiskQueue::new(room, batch));
        (Disk { queue: Arc::clone(&queue) }, queue)
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
        self.queue.wake();
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
        self.queue.wake();
        let mut closed = self.queue.closed.subscribe();
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

#[cfg(test)]
impl Disk {
    /// Stops or resumes writing.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.queue.waiting.lock().is_paused = is_paused;
        self.queue.wake();
    }

    /// Makes the next write fail.
    pub(crate) fn fail(&self) {
        self.queue.waiting.lock().fails = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue.waiting.lock().ends = true;
        self.queue.wake();
    }
}

impl DiskQueue {
    fn new(room: u64, batch: u64) -> Self {
        DiskQueue {
            waiting: Mutex::default(),
            more: Condvar::new(),
            #[cfg(feature = "simulation")]
            noticed: tokio::sync::Notify::new(),
            backlog: AtomicU64::new(0),
            room,
            batch,
            written: watch::channel(0).0,
            closed: watch::channel(false).0,
        }
    }

    fn wake(&self) {
        self.more.notify_one();
        #[cfg(feature = "simulation")]
        self.noticed.notify_one();
    }

    /// Notes that changes are on disk; returns whether few enough wait.
    pub(crate) fn is_written(&self, bytes: u64) -> bool {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed) - bytes <= self.room
    }
}

impl Backlog {
    /// Takes the changes to be written next.
    pub(crate) fn take(&mut self, batch: u64) -> Added {
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
}
