//! Searches for orders of operations, the writing thread and the watching thread in which a change
//! is not written, or somebody waits for ever.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::{io, path::Path, sync::Arc, time::Duration};

use shuttle::future::block_on;

use super::watch::Watch;
use crate::{
    core::journal::records::{Changes, Record, Stored},
    store::{
        disk::{Disk, DiskReport},
        writer::{Written, write},
    },
    sync::{Mutex, search, thread},
};

const ROOM: u64 = 1 << 20;

/// The changes that have been written, in order, and the end.
#[derive(Default)]
struct Log {
    serials: Vec<u64>,
    reported: u64,
    is_finished: bool,
}

/// Files in memory.
struct Files {
    log: Arc<Mutex<Log>>,
    /// The number of writes that succeed.
    good: usize,
}

impl Written for Files {
    fn write(&mut self, changes: Changes) -> fjall::Result<()> {
        self.good = self.good.checked_sub(1).ok_or_else(|| io::Error::other("no more"))?;
        let serials = changes.iter().map(|record| match record {
            Record::QueueDeleted { serial } => *serial,
            other => panic!("{other:?}"),
        });
        self.log.lock().serials.extend(serials);
        Ok(())
    }

    fn wait_for_flush(&self) {}

    fn finish(&mut self, _: &[Stored]) -> fjall::Result<()> {
        self.log.lock().is_finished = true;
        Ok(())
    }
}

fn change(serial: u64) -> Changes {
    let mut changes = Changes::default();
    changes.push(Record::QueueDeleted { serial });
    changes
}

/// A disk whose first `good` writes succeed, and its writing thread.
fn disk(good: usize) -> (Arc<Disk>, Arc<Mutex<Log>>, thread::JoinHandle<()>) {
    let (disk, queue) = Disk::new(ROOM, ROOM);
    let log = Arc::<Mutex<Log>>::default();
    let (files, told) = (Files { log: log.clone(), good }, log.clone());
    let writing = thread::spawn(move || {
        let tell = |report| {
            let DiskReport::Written { change, .. } = report else { return };
            let mut log = told.lock();
            assert!(log.serials.contains(&change), "{change} is told before it is written");
            log.reported = change;
        };
        let _ = write(&queue, files, &tell);
        queue.closed.send_replace(true);
    });
    (Arc::new(disk), log, writing)
}

/// Adds changes from two threads, in order as under the lock of a virtual host.
fn add(disk: &Arc<Disk>) -> [thread::JoinHandle<()>; 2] {
    let last = Arc::new(Mutex::new(0));
    [(); 2].map(|()| {
        let (disk, last) = (disk.clone(), last.clone());
        thread::spawn(move || {
            for _ in 0..2 {
                let mut last = last.lock();
                *last += 1;
                assert!(disk.add(change(*last), *last));
            }
        })
    })
}

#[test]
fn what_is_added_is_written_once_in_order_before_anyone_is_told() {
    search(|| {
        let (disk, log, writing) = disk(usize::MAX);
        for adding in add(&disk) {
            adding.join().unwrap();
        }
        block_on(disk.flushed());
        assert_eq!(log.lock().serials, [1, 2, 3, 4]);
        block_on(disk.close(Vec::new()));
        writing.join().unwrap();
        let log = log.lock();
        assert!(log.is_finished && log.reported == 4);
        assert_eq!((&log.serials[..], disk.backlog()), (&[1, 2, 3, 4][..], 0));
    });
}

#[test]
fn what_waits_when_a_disk_is_closed_or_dropped_is_written_before_it_ends() {
    for closes in [true, false] {
        search(move || {
            let (disk, log, writing) = disk(usize::MAX);
            let adding = add(&disk);
            if closes {
                for adding in adding {
                    adding.join().unwrap();
                }
                block_on(disk.close(Vec::new()));
            }
            drop(disk);
            writing.join().unwrap();
            let log = log.lock();
            assert_eq!((&log.serials[..], log.is_finished), (&[1, 2, 3, 4][..], closes));
        });
    }
}

#[test]
fn when_a_disk_fails_nobody_waits_for_it_and_nothing_more_is_written() {
    search(|| {
        let (disk, log, writing) = disk(1);
        let adding = add(&disk);
        block_on(disk.flushed());
        for adding in adding {
            adding.join().unwrap();
        }
        block_on(disk.flushed());
        block_on(disk.close(Vec::new()));
        writing.join().unwrap();
        let log = log.lock();
        let written = log.serials.len() as u64;
        assert_eq!(log.serials, (1..=written).collect::<Vec<_>>());
        assert!(!log.is_finished || written == 4);
    });
}

#[test]
fn writing_that_is_stopped_goes_on_when_it_is_resumed() {
    search(|| {
        let (disk, log, writing) = disk(usize::MAX);
        disk.pause(true);
        let adding = add(&disk);
        disk.pause(false);
        for adding in adding {
            adding.join().unwrap();
        }
        block_on(disk.flushed());
        assert_eq!(log.lock().serials.len(), 4);
        drop(disk);
        writing.join().unwrap();
    });
}

#[test]
fn a_mark_is_synced_after_each_change_of_it() {
    let mark = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).unwrap();
    search(move || {
        let watch = Arc::new(Watch::new(mark.try_clone().unwrap(), Duration::ZERO));
        let watching = {
            let watch = watch.clone();
            thread::spawn(move || watch.run(Path::new("/"), 0, &|_| {}))
        };
        let writing = [(); 2].map(|()| {
            let watch = watch.clone();
            thread::spawn(move || (0..2).for_each(|_| watch.changed()))
        });
        for writing in writing {
            writing.join().unwrap();
        }
        while !watch.is_synced() {
            thread::yield_now();
        }
        watch.end();
        watching.join().unwrap();
    });
}
